using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Ravel.Linux.Processes;
using Ravel.Testing.Needs;
using Ravel.Testing.Network;

namespace Ravel.Integration.Agent.Networking;

/// <summary>How much gets through a limited tap, in real packets.</summary>
public sealed partial class NetworkLimitTests : IAsyncLifetime
{
    private const int Limit = 20_000;
    private const int Datagram = 1_000;

    private TestHost _test = null!;

    public async ValueTask InitializeAsync()
    {
        Need.Root();
        Need.Program("nft");
        Need.Program("tc");
        _test = await TestHost.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_test is not null)
            await _test.DisposeAsync();
    }

    [Fact]
    public async Task What_a_guest_sends_is_cut_to_its_limit_and_nobody_elses()
    {
        using var receiver = await UdpReceiver.OpenAsync(_test.Internet, TestHost.InternetV4, 9);
        var network = await _test.StartNetworkAsync();
        var machine = _test.NewMachine(1) with { BytesPerSecond = Limit };
        var limited = await _test.StartGuestAsync(network, machine);
        var free = await _test.StartGuestAsync(network, _test.NewMachine(2));

        await FloodAsync(limited.Inside, TestHost.InternetV4, 200);
        // What the limit lets through comes, and another guest's word after it: two guests' packets have no order of their own.
        const int Least = 5;
        for (var i = 0; i < Least; i++)
            Assert.NotEqual("free", await receiver.ReceiveAsync());
        await UdpReceiver.SendAsync(free.Inside, TestHost.InternetV4, 9, "free");
        var fromLimited = Least;
        while (await receiver.ReceiveAsync() != "free")
            fromLimited++;

        var traffic = await _test.Host.RunAsync(() => network.ReadTrafficAsync(CancellationToken.None));
        // What was dropped had been sent; what the guest's own socket did not take had not.
        Assert.InRange(traffic[machine.Instance].SentBytes, fromLimited * Datagram, 400 * Datagram);
        Assert.InRange(traffic[machine.Instance].SentPackets, fromLimited, 300);

        // A second's worth at once, and what the time it took gave.
        Assert.InRange(fromLimited, Least, 150);

        await _test.Host.RunAsync(() => network.LimitAsync(machine.Instance, null, CancellationToken.None));
        Assert.DoesNotContain("sent_1", await HostAsync("nft", "list", "ruleset"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_guest_is_sent_waits_for_its_turn()
    {
        var network = await _test.StartNetworkAsync();
        var machine = _test.NewMachine(1) with { BytesPerSecond = Limit };
        var guest = await _test.StartGuestAsync(network, machine);

        // More than the bucket holds.
        var began = Stopwatch.GetTimestamp();
        await FloodAsync(_test.Host, IPAddress.Parse(guest.Network.AddressV4.Split('/')[0]), 1000);
        var statistics = await HostAsync("tc", "-s", "qdisc", "show", "dev", guest.Network.Tap);
        var elapsed = Stopwatch.GetElapsedTime(began).TotalSeconds;

        var figures = Figures().Match(statistics);
        Assert.True(figures.Success, statistics);
        Assert.InRange(int.Parse(figures.Groups[1].ValueSpan, CultureInfo.InvariantCulture), Datagram, (128 * 1024) + (elapsed * Limit * 1.25) + (8 * Datagram));
        Assert.True(int.Parse(figures.Groups[2].ValueSpan, CultureInfo.InvariantCulture) > 0, statistics);

        await _test.Host.RunAsync(() => network.LimitAsync(machine.Instance, 1_000_000, CancellationToken.None));
        Assert.Contains("rate 8Mbit", await HostAsync("tc", "qdisc", "show", "dev", guest.Network.Tap), StringComparison.Ordinal);
        await _test.Host.RunAsync(() => network.LimitAsync(machine.Instance, null, CancellationToken.None));
        Assert.DoesNotContain("tbf", await HostAsync("tc", "qdisc", "show", "dev", guest.Network.Tap), StringComparison.Ordinal);
        // What is not there can be lifted once more.
        await _test.Host.RunAsync(() => network.LimitAsync(machine.Instance, null, CancellationToken.None));
    }

    [Fact]
    public async Task A_reconcile_brings_a_limit_back()
    {
        var network = await _test.StartNetworkAsync();
        var machine = _test.NewMachine(1) with { BytesPerSecond = Limit };
        var guest = await _test.StartGuestAsync(network, machine);
        await HostAsync("tc", "qdisc", "del", "dev", guest.Network.Tap, "root");

        await _test.Host.RunAsync(() => network.ReconcileAsync([machine], CancellationToken.None));

        Assert.Contains("rate 160Kbit", await HostAsync("tc", "qdisc", "show", "dev", guest.Network.Tap), StringComparison.Ordinal);
        Assert.Contains("sent_1", await HostAsync("nft", "list", "ruleset"), StringComparison.Ordinal);
    }

    [GeneratedRegex(@"qdisc tbf .*\n Sent (\d+) bytes .*overlimits (\d+)")]
    private static partial Regex Figures();

    private static Task FloodAsync(NetworkNamespaceThread from, IPAddress to, int datagrams) => from.RunAsync(() =>
    {
        // Whoever may not send now goes on: a sender of this host would wait for the queue.
        using var socket = new Socket(to.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { Blocking = false };
        var bytes = new byte[Datagram];
        for (var i = 0; i < datagrams; i++)
        {
            try
            {
                socket.SendTo(bytes, new IPEndPoint(to, 9));
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.NoBufferSpaceAvailable or SocketError.WouldBlock)
            {
                // Said of one that was dropped on its way out.
            }
        }
        return Task.CompletedTask;
    });

    private Task<string> HostAsync(string program, params string[] arguments) =>
        _test.Host.RunAsync(() => CommandRunner.RunCheckedAsync(program, arguments));
}
