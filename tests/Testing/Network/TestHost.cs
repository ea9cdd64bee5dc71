using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging.Abstractions;
using Ravel.Agent.Hosting;
using Ravel.Agent.Networking;
using Ravel.Contracts.Ids;
using Ravel.Linux.Processes;

namespace Ravel.Testing.Network;

/// <summary>
/// Two network namespaces, a "host" for what is under test and an "internet" behind its uplink, with documentation addresses
/// (RFC 5737, RFC 3849):
/// <code>
/// host eth0 192.0.2.2/24, 2001:db8::2/64 ── eth0 192.0.2.1/24, 2001:db8::1/64 internet
///                                           lo   198.51.100.10, 2001:db8:1::10, 10.1.2.3, 169.254.169.254
/// </code>
/// </summary>
public sealed class TestHost : IAsyncDisposable
{
    public static readonly IPAddress HostV4 = IPAddress.Parse("192.0.2.2");
    public static readonly IPAddress HostV6 = IPAddress.Parse("2001:db8::2");
    public static readonly IPAddress InternetV4 = IPAddress.Parse("198.51.100.10");
    public static readonly IPAddress InternetV6 = IPAddress.Parse("2001:db8:1::10");
    public static readonly IPAddress PrivateV4 = IPAddress.Parse("10.1.2.3");
    public static readonly IPAddress MetadataV4 = IPAddress.Parse("169.254.169.254");

    private readonly List<IDisposable> _owned = [];
    private readonly string _directory = Directory.CreateTempSubdirectory("test-host-").FullName;
    private int _instances;

    private TestHost()
    {
    }

    public NetworkNamespaceThread Host { get; } = new("test host");

    public NetworkNamespaceThread Internet { get; } = new("test internet");

    public static async Task<TestHost> StartAsync()
    {
        var test = new TestHost();
        await test.Host.RunAsync(async () =>
        {
            await IpAsync("link set lo up");
            await IpAsync($"link add eth0 type veth peer name eth0 netns {test.Internet.ThreadId}");
            // Otherwise the link-local address is tentative for a second, and the host seems to change by itself.
            File.WriteAllText("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0");
            await IpAsync("link set eth0 up");
            await IpAsync("addr add 192.0.2.2/24 dev eth0");
            await IpAsync("addr add 2001:db8::2/64 dev eth0 nodad");
        });
        await test.Internet.RunAsync(async () =>
        {
            await IpAsync("link set lo up");
            await IpAsync("link set eth0 up");
            await IpAsync("addr add 192.0.2.1/24 dev eth0");
            await IpAsync("addr add 2001:db8::1/64 dev eth0 nodad");
            foreach (var address in new[] { InternetV4, InternetV6, PrivateV4, MetadataV4 })
                await IpAsync($"addr add {address} dev lo{(address.AddressFamily == AddressFamily.InterNetworkV6 ? " nodad" : "")}");
        });
        await test.Host.RunAsync(async () =>
        {
            await IpAsync("route add default via 192.0.2.1");
            await IpAsync("route add default via 2001:db8::1");
        });
        return test;
    }

    /// <summary>What a raveld on this host would have. Called again with the same name it is the next raveld on the same data.</summary>
    /// <param name="resolver">The nameserver in the host's resolv.conf.</param>
    /// <param name="allowed">A private range that guests may reach.</param>
    /// <param name="wanted">What its journal holds.</param>
    public async Task<NodeNetwork> StartNetworkAsync(
        string name = "data", string resolver = "192.0.2.1", string? allowed = null, IReadOnlyList<NetworkAttachment>? wanted = null)
    {
        var resolvConf = Path.Combine(_directory, name + ".resolv.conf");
        await File.WriteAllTextAsync(resolvConf, $"search example\nnameserver {resolver}\n");
        return await Host.RunAsync(async () =>
        {
            using var slot = await HostSlot.ClaimAsync(
                new HostSlotOptions { DataDirectory = Path.Combine(_directory, name), BaseDirectory = Path.Combine(_directory, "run") },
                TimeProvider.System);
            var network = new NodeNetwork(
                slot,
                new NodeNetworkOptions { ResolvConf = resolvConf, SystemdResolvConf = "/nonexistent", AllowedPrivateRanges = allowed is null ? [] : [allowed] },
                NullLogger<NodeNetwork>.Instance);
            await network.ReconcileAsync(wanted ?? [], CancellationToken.None);
            _owned.Add(network);
            return network;
        });
    }

    /// <summary>A new machine's attachment.</summary>
    public NetworkAttachment NewMachine(int address, int network = 1, params PortMapping[] ports) => new(
        InstanceId.New(DateTimeOffset.UnixEpoch.AddSeconds(++_instances)), MachineId.New(), address, network, ports);

    /// <summary>Attaches a machine and starts its guest.</summary>
    public async Task<TapGuest> StartGuestAsync(NodeNetwork network, NetworkAttachment machine)
    {
        var guest = await TapGuest.StartAsync(this, await Host.RunAsync(() => network.AttachAsync(machine, CancellationToken.None)));
        _owned.Insert(0, guest);
        return guest;
    }

    /// <summary>Runs ip(8) in the calling namespace thread's namespace.</summary>
    public static Task<string> IpAsync(string arguments) => CommandRunner.RunCheckedAsync("ip", arguments.Split(' '));

    /// <summary>A server in one of the namespaces, stopped with the host.</summary>
    public async Task<LineServer> ServeAsync(NetworkNamespaceThread where, IPAddress address, int port)
    {
        var server = await where.RunAsync(() => new LineServer(new IPEndPoint(address, port)));
        _owned.Add(server);
        return server;
    }

    /// <summary>A nameserver in one of the namespaces, stopped with the host.</summary>
    public async Task ServeDnsAsync(NetworkNamespaceThread where, IPAddress address) =>
        _owned.Add(await where.RunAsync(() => new DnsResponder(address)));

    public ValueTask DisposeAsync()
    {
        foreach (var owned in _owned)
            owned.Dispose();
        Host.Dispose();
        Internet.Dispose();
        Directory.Delete(_directory, recursive: true);
        return ValueTask.CompletedTask;
    }
}
