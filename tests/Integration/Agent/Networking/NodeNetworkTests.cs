using System.Net;
using System.Net.Sockets;
using Ravel.Agent.Networking;
using Ravel.Testing.Needs;
using Ravel.Testing.Network;

namespace Ravel.Integration.Agent.Networking;

/// <summary>What guests can do, seen in real packets through a real kernel in namespaces of the test's own.</summary>
public sealed class NodeNetworkTests : IAsyncLifetime
{
    private static readonly IPAddress Loopback = IPAddress.Loopback;

    private TestHost _test = null!;

    public async ValueTask InitializeAsync()
    {
        Need.Root();
        Need.Program("nft");
        _test = await TestHost.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_test is not null)
            await _test.DisposeAsync();
    }

    [Fact]
    public async Task Guest_reaches_the_internet_under_the_hosts_addresses()
    {
        await _test.ServeAsync(_test.Internet, TestHost.InternetV4, 80);
        await _test.ServeAsync(_test.Internet, TestHost.InternetV6, 80);
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1));

        using var v4 = await LineClient.ConnectAsync(guest.Inside, TestHost.InternetV4, 80);
        using var v6 = await LineClient.ConnectAsync(guest.Inside, TestHost.InternetV6, 80);

        Assert.Equal(TestHost.HostV4.ToString(), v4.SeenAs);
        Assert.Equal(TestHost.HostV6.ToString(), v6.SeenAs);
        Assert.Equal("hello", await v4.AskAsync("hello"));
        Assert.Equal("hello", await v6.AskAsync("hello"));
    }

    [Theory]
    [InlineData("192.0.2.1")]
    [InlineData("10.1.2.3")]
    [InlineData("127.0.0.1")]
    [InlineData("192.0.2.2")]
    public async Task Gateway_answers_dns_for_a_resolver_that_is_remote_private_loopback_or_the_host_itself(string resolver)
    {
        var address = IPAddress.Parse(resolver);
        var isHost = IPAddress.IsLoopback(address) || address.Equals(TestHost.HostV4);
        await _test.ServeDnsAsync(isHost ? _test.Host : _test.Internet, address);
        var network = await _test.StartNetworkAsync(resolver: resolver);
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1));

        var nameserver = IPAddress.Parse(guest.Network.Nameservers.Single());

        Assert.Equal(TestHost.InternetV4, await DnsResponder.AskAsync(guest.Inside, nameserver, ProtocolType.Udp));
        Assert.Equal(TestHost.InternetV4, await DnsResponder.AskAsync(guest.Inside, nameserver, ProtocolType.Tcp));
    }

    [Fact]
    public async Task Dns_works_while_raveld_is_dead()
    {
        await _test.ServeDnsAsync(_test.Internet, IPAddress.Parse("192.0.2.1"));
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1));
        network.Dispose();

        Assert.Equal(
            TestHost.InternetV4,
            await DnsResponder.AskAsync(guest.Inside, IPAddress.Parse(guest.Network.GatewayV4), ProtocolType.Udp));
    }

    [Fact]
    public async Task Published_port_answers_on_loopback_on_the_hosts_addresses_and_from_outside()
    {
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1, 1, new PortMapping("tcp", null, 8080, 80)));
        await _test.ServeAsync(guest.Inside, IPAddress.IPv6Any, 80);

        foreach (var address in new[] { Loopback, TestHost.HostV4, TestHost.HostV6 })
        {
            using var local = await LineClient.ConnectAsync(_test.Host, address, 8080);
            Assert.Equal("hello", await local.AskAsync("hello"));
        }

        using var outside = await LineClient.ConnectAsync(_test.Internet, TestHost.HostV4, 8080);
        using var outside6 = await LineClient.ConnectAsync(_test.Internet, TestHost.HostV6, 8080);

        // The workload sees who really asks.
        Assert.Equal("::ffff:192.0.2.1", outside.SeenAs);
        Assert.Equal("2001:db8::1", outside6.SeenAs);

        // Kernel work: it goes on without raveld.
        network.Dispose();
        Assert.Equal("still", await outside.AskAsync("still"));
        using var later = await LineClient.ConnectAsync(_test.Internet, TestHost.HostV4, 8080);
        using var laterLocal = await LineClient.ConnectAsync(_test.Host, Loopback, 8080);
    }

    [Fact]
    public async Task Port_published_on_one_address_answers_on_that_address_only()
    {
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1, 1, new PortMapping("tcp", "127.0.0.1", 8080, 80)));
        await _test.ServeAsync(guest.Inside, IPAddress.Any, 80);

        using var local = await LineClient.ConnectAsync(_test.Host, Loopback, 8080);

        await CannotConnect(_test.Internet, TestHost.HostV4, 8080);
        await CannotConnect(_test.Host, TestHost.HostV4, 8080);
    }

    [Fact]
    public async Task Port_published_on_loopback_does_not_answer_a_neighbour_that_addresses_loopback_to_the_host()
    {
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(
            network,
            _test.NewMachine(1, 1, new PortMapping("udp", "127.0.0.1", 7000, 7000), new PortMapping("udp", null, 7001, 7000)));
        using var inside = await UdpReceiver.OpenAsync(guest.Inside, IPAddress.Any, 7000);
        await _test.Internet.RunAsync(async () =>
        {
            await TestHost.IpAsync("addr del 127.0.0.1/8 dev lo");
            await TestHost.IpAsync("route add 127.0.0.1 via 192.0.2.2 src 192.0.2.1");
        });

        await UdpReceiver.SendAsync(_test.Internet, Loopback, 7000, "by loopback");
        await UdpReceiver.SendAsync(_test.Internet, TestHost.HostV4, 7001, "by the door");

        Assert.Equal("by the door", await inside.ReceiveAsync());
    }

    [Fact]
    public async Task Machines_of_one_network_talk_and_those_of_two_do_not()
    {
        var network = await _test.StartNetworkAsync();
        var a = await _test.StartGuestAsync(network, _test.NewMachine(1, network: 1));
        var b = await _test.StartGuestAsync(network, _test.NewMachine(2, network: 1));
        var stranger = await _test.StartGuestAsync(network, _test.NewMachine(3, network: 2, new PortMapping("tcp", null, 8080, 80)));
        foreach (var guest in new[] { b, stranger })
        {
            await _test.ServeAsync(guest.Inside, IPAddress.IPv6Any, 80);
        }

        using var v4 = await LineClient.ConnectAsync(a.Inside, Address(b.Network.AddressV4), 80);
        using var v6 = await LineClient.ConnectAsync(a.Inside, Address(b.Network.AddressV6), 80);
        Assert.Equal("::ffff:" + Address(a.Network.AddressV4), v4.SeenAs);
        Assert.Equal(Address(a.Network.AddressV6).ToString(), v6.SeenAs);

        await CannotConnect(a.Inside, Address(stranger.Network.AddressV4), 80);
        await CannotConnect(a.Inside, Address(stranger.Network.AddressV6), 80);
        // Nor by way of its published port.
        await CannotConnect(a.Inside, TestHost.HostV4, 8080);
        await CannotConnect(a.Inside, Address(a.Network.GatewayV4), 8080);
    }

    [Fact]
    public async Task Machines_of_two_ravels_on_one_host_do_not_reach_each_other()
    {
        var first = await _test.StartNetworkAsync("first");
        var second = await _test.StartNetworkAsync("second");
        var a = await _test.StartGuestAsync(first, _test.NewMachine(1));
        var b = await _test.StartGuestAsync(second, _test.NewMachine(1));
        await _test.ServeAsync(b.Inside, IPAddress.IPv6Any, 80);
        await _test.ServeAsync(_test.Internet, TestHost.InternetV4, 80);

        Assert.NotEqual(a.Network.AddressV4, b.Network.AddressV4);
        await CannotConnect(a.Inside, Address(b.Network.AddressV4), 80);
        await CannotConnect(a.Inside, Address(b.Network.AddressV6), 80);

        // The end of one is nothing to the other.
        await _test.Host.RunAsync(() => first.RemoveEverythingAsync(CancellationToken.None));
        using var still = await LineClient.ConnectAsync(b.Inside, TestHost.InternetV4, 80);
    }

    [Fact]
    public async Task Metadata_private_ranges_and_the_host_are_out_of_reach()
    {
        await _test.ServeAsync(_test.Internet, IPAddress.Any, 80);
        await _test.ServeAsync(_test.Host, IPAddress.IPv6Any, 9999);
        await _test.ServeAsync(_test.Host, Loopback, 7777);
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1));

        // Each of them is there.
        await _test.Host.RunAsync(() => TestHost.IpAsync($"route add {TestHost.MetadataV4} via 192.0.2.1"));
        foreach (var address in new[] { TestHost.MetadataV4, TestHost.PrivateV4, TestHost.InternetV4 })
        {
            using var fromHost = await LineClient.ConnectAsync(_test.Host, address, 80);
        }
        using var open = await LineClient.ConnectAsync(guest.Inside, TestHost.InternetV4, 80);

        await CannotConnect(guest.Inside, TestHost.MetadataV4, 80);
        await CannotConnect(guest.Inside, TestHost.PrivateV4, 80);
        await CannotConnect(guest.Inside, TestHost.HostV4, 9999);
        await CannotConnect(guest.Inside, TestHost.HostV6, 9999);
        await CannotConnect(guest.Inside, Address(guest.Network.GatewayV4), 9999);

        // 127.0.0.1 by way of the tap, which routes loopback addresses: the datagram behind it arrives, it does not.
        using var loopback = await UdpReceiver.OpenAsync(_test.Host, Loopback, 7001);
        using var internet = await UdpReceiver.OpenAsync(_test.Internet, TestHost.InternetV4, 7001);
        var tapMac = await HostMac(guest);
        guest.Send(Frames.Udp(tapMac, guest.Mac, Address(guest.Network.AddressV4), Loopback, 7001, "in"u8));
        guest.Send(Frames.Udp(tapMac, guest.Mac, Address(guest.Network.AddressV4), TestHost.InternetV4, 7001, "out"u8));
        Assert.Equal("out", await internet.ReceiveAsync());
        Assert.Equal(0, loopback.Available);
    }

    [Fact]
    public async Task Allowed_private_range_can_be_reached_and_the_rest_cannot()
    {
        await _test.ServeAsync(_test.Internet, IPAddress.Any, 80);
        await _test.Internet.RunAsync(() => TestHost.IpAsync("addr add 10.9.9.9 dev lo"));
        var network = await _test.StartNetworkAsync(allowed: "10.1.0.0/16");
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1));

        using var allowed = await LineClient.ConnectAsync(guest.Inside, TestHost.PrivateV4, 80);
        await CannotConnect(guest.Inside, IPAddress.Parse("10.9.9.9"), 80);
    }

    [Fact]
    public async Task Ping_of_the_gateway_is_answered_and_of_the_hosts_address_is_not()
    {
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1));
        const int EchoReply = 0, Unreachable = 3, EchoReplyV6 = 129;

        Assert.Equal(EchoReply, await Echo.SendAsync(guest.Inside, Address(guest.Network.GatewayV4)));
        Assert.Equal(EchoReplyV6, await Echo.SendAsync(guest.Inside, Address(guest.Network.GatewayV6)));
        Assert.Equal(Unreachable, await Echo.SendAsync(guest.Inside, TestHost.HostV4));
    }

    [Fact]
    public async Task Forged_sources_are_dropped()
    {
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1));
        var victim = await _test.StartGuestAsync(network, _test.NewMachine(2));
        using var v4 = await UdpReceiver.OpenAsync(_test.Internet, TestHost.InternetV4, 7000);
        using var v6 = await UdpReceiver.OpenAsync(_test.Internet, TestHost.InternetV6, 7000);
        var tapMac = await HostMac(guest);
        var ownV4 = Address(guest.Network.AddressV4);
        var ownV6 = Address(guest.Network.AddressV6);

        foreach (var forged in new[] { Address(victim.Network.AddressV4), TestHost.HostV4, Loopback, Address(guest.Network.GatewayV4), IPAddress.Parse("203.0.113.5") })
            guest.Send(Frames.Udp(tapMac, guest.Mac, forged, TestHost.InternetV4, 7000, "forged address"u8));
        guest.Send(Frames.Udp(tapMac, victim.Mac, ownV4, TestHost.InternetV4, 7000, "forged mac"u8));
        guest.Send(Frames.Udp(tapMac, guest.Mac, ownV4, TestHost.InternetV4, 7000, "true"u8));
        Assert.Equal("true", await v4.ReceiveAsync());

        foreach (var forged in new[] { Address(victim.Network.AddressV6), TestHost.HostV6, IPAddress.Parse("2001:db8:5::5") })
            guest.Send(Frames.Udp(tapMac, guest.Mac, forged, TestHost.InternetV6, 7000, "forged address"u8));
        guest.Send(Frames.Udp(tapMac, victim.Mac, ownV6, TestHost.InternetV6, 7000, "forged mac"u8));
        guest.Send(Frames.Udp(tapMac, guest.Mac, ownV6, TestHost.InternetV6, 7000, "true"u8));
        Assert.Equal("true", await v6.ReceiveAsync());
    }

    [Fact]
    public async Task Forged_arp_is_neither_answered_nor_believed()
    {
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1));
        var gateway = Address(guest.Network.GatewayV4);
        var own = Address(guest.Network.AddressV4);
        var other = IPAddress.Parse("100.64.7.7");

        guest.Send(Frames.ArpRequest(guest.Mac, guest.Mac, other, gateway));
        guest.Send(Frames.ArpRequest(guest.Mac, [2, 0, 0, 0, 0, 9], own, gateway));
        guest.Send(Frames.ArpRequest(guest.Mac, guest.Mac, own, TestHost.HostV4));
        guest.Send(Frames.ArpRequest(guest.Mac, guest.Mac, own, gateway));

        // The replies come in the order of the requests: the first one is the last request's.
        byte[] reply;
        do
            reply = guest.Seen.Take(new CancellationTokenSource(TimeSpan.FromSeconds(20)).Token);
        while (reply[12] != 8 || reply[13] != 6 || reply[21] != 2);
        Assert.True(Frames.IsArpReply(reply, gateway));
        Assert.Equal(own, new IPAddress(reply.AsSpan(38, 4)));
        Assert.Equal(guest.Mac, reply[32..38]);

        var neighbours = await _test.Host.RunAsync(() => TestHost.IpAsync($"neigh show dev {guest.Network.Tap}"));
        Assert.DoesNotContain(other.ToString(), neighbours, StringComparison.Ordinal);
        Assert.Contains($"{own} lladdr {guest.Network.Mac} PERMANENT", neighbours, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Outsiders_with_a_route_to_a_guest_reach_published_ports_only()
    {
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1, 1, new PortMapping("tcp", null, 8080, 80)));
        await _test.ServeAsync(guest.Inside, IPAddress.Any, 80);
        await _test.ServeAsync(guest.Inside, IPAddress.Any, 7000);
        using var inside = await UdpReceiver.OpenAsync(guest.Inside, IPAddress.Any, 7000);
        await _test.Internet.RunAsync(() => TestHost.IpAsync("route add 100.64.0.0/10 via 192.0.2.2"));

        await UdpReceiver.SendAsync(_test.Internet, Address(guest.Network.AddressV4), 7000, "from outside");
        using var published = await LineClient.ConnectAsync(_test.Internet, TestHost.HostV4, 8080);
        Assert.Equal("x", await published.AskAsync("x"));
        Assert.Equal(0, inside.Available);
    }

    private static Task CannotConnect(NetworkNamespaceThread from, IPAddress to, int port) =>
        Assert.ThrowsAsync<SocketException>(() => LineClient.ConnectAsync(from, to, port));

    private static IPAddress Address(string withLength) => IPAddress.Parse(withLength.Split('/')[0]);

    private async Task<byte[]> HostMac(TapGuest guest)
    {
        var text = await _test.Host.RunAsync(() => TestHost.IpAsync($"-o link show dev {guest.Network.Tap}"));
        return Convert.FromHexString(text.Split("link/ether ")[1][..17].Replace(":", "", StringComparison.Ordinal));
    }
}
