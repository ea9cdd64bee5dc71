using System.Net;
using System.Net.Sockets;
using Ravel.Agent.Networking;
using Ravel.Contracts.Ids;

namespace Ravel.Unit.Agent.Networking;

public sealed class PublishedPortsTests : IDisposable
{
    private static readonly InstanceId A = InstanceId.New(DateTimeOffset.UnixEpoch);
    private static readonly InstanceId B = InstanceId.New(DateTimeOffset.UnixEpoch.AddSeconds(1));

    private readonly PublishedPorts _ports = new();
    private readonly int _free = FreePort();

    public void Dispose() => _ports.Dispose();

    [Fact]
    public void Port_of_another_machine_is_refused_by_name()
    {
        _ports.Take(A, [Tcp()]);
        var refusal = Assert.Throws<NetworkException>(() => _ports.Take(B, [Tcp() with { GuestPort = 81 }]));
        Assert.Equal("port-taken", refusal.Code);
        Assert.Contains($"{_free}/tcp", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Port_of_one_address_overlaps_with_the_port_of_all()
    {
        _ports.Take(A, [Tcp("127.0.0.1")]);
        Assert.Throws<NetworkException>(() => _ports.Take(B, [Tcp()]));
        _ports.Take(B, [Tcp("127.0.0.2")]);
    }

    [Fact]
    public void Tcp_and_udp_are_different_ports()
    {
        _ports.Take(A, [Tcp()]);
        _ports.Take(B, [Tcp() with { Protocol = "udp" }]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Port_of_another_process_is_refused_even_if_it_shares_addresses(bool reuse)
    {
        using var other = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        other.ExclusiveAddressUse = !reuse;
        other.Bind(new IPEndPoint(IPAddress.Loopback, _free));
        other.Listen();
        Assert.Equal("port-taken", Assert.Throws<NetworkException>(() => _ports.Take(A, [Tcp()])).Code);
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("0.0.0.0")]
    [InlineData("::")]
    public void Taken_port_cannot_be_bound_by_a_process_that_shares_addresses(string address)
    {
        _ports.Take(A, [Tcp()]);
        var ip = IPAddress.Parse(address);
        using var other = new Socket(ip.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        other.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        var refusal = Assert.Throws<SocketException>(() => other.Bind(new IPEndPoint(ip, _free)));
        Assert.Equal(SocketError.AddressAlreadyInUse, refusal.SocketErrorCode);
    }

    [Fact]
    public void Refused_machine_holds_none_of_its_ports()
    {
        var second = FreePort();
        _ports.Take(A, [Tcp() with { HostPort = second }]);
        Assert.Throws<NetworkException>(() => _ports.Take(B, [Tcp(), Tcp() with { HostPort = second }]));
        _ports.Take(A, [Tcp() with { HostPort = second }, Tcp()]);
    }

    [Fact]
    public void Taking_again_and_releasing_are_idempotent()
    {
        _ports.Take(A, [Tcp()]);
        _ports.Take(A, [Tcp()]);
        _ports.Release(A);
        _ports.Release(A);
        _ports.Take(B, [Tcp()]);
    }

    [Fact]
    public void Next_incarnation_takes_over_the_ports()
    {
        _ports.Take(A, [Tcp()]);
        _ports.HandOver(A, B);
        _ports.Release(A);
        _ports.Take(B, [Tcp()]);
    }

    [Fact]
    public void Port_lost_to_a_process_stays_the_machines_and_is_held_when_that_is_gone()
    {
        var other = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        other.Bind(new IPEndPoint(IPAddress.Any, _free));
        _ports.BeginAdoption([Tcp()]);
        Assert.Equal(PortAdoption.Shared, _ports.Adopt(A, Tcp()));
        other.Dispose();
        _ports.BeginAdoption([Tcp()]);
        Assert.Equal(PortAdoption.Held, _ports.Adopt(A, Tcp()));
    }

    [Fact]
    public void Of_two_machines_with_one_port_the_later_goes_without()
    {
        _ports.BeginAdoption([Tcp()]);
        Assert.Equal(PortAdoption.Held, _ports.Adopt(A, Tcp()));
        Assert.Equal(PortAdoption.Refused, _ports.Adopt(B, Tcp() with { GuestPort = 81 }));
    }

    [Theory]
    [InlineData("sctp", null, 80, 80)]
    [InlineData("tcp", null, 0, 80)]
    [InlineData("tcp", null, 65536, 80)]
    [InlineData("tcp", null, 80, 0)]
    [InlineData("tcp", "::1", 80, 80)]
    [InlineData("tcp", "1; drop", 80, 80)]
    public void Impossible_mapping_is_an_invalid_request(string protocol, string? address, int host, int guest) =>
        Assert.Equal(
            "invalid-request",
            Assert.Throws<NetworkException>(() => PublishedPorts.Normalize([new PortMapping(protocol, address, host, guest)])).Code);

    [Fact]
    public void One_port_cannot_lead_to_two()
    {
        Assert.Single(PublishedPorts.Normalize([Tcp(), Tcp("0.0.0.0")]));
        Assert.Throws<NetworkException>(() => PublishedPorts.Normalize([Tcp(), Tcp() with { GuestPort = 81 }]));
    }

    [Fact]
    public void Address_that_is_not_the_hosts_is_an_invalid_request() =>
        Assert.Equal("invalid-request", Assert.Throws<NetworkException>(() => _ports.Take(A, [Tcp("203.0.113.77")])).Code);

    private PortMapping Tcp(string? address = null) => new("tcp", address, _free, 80);

    private static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Any, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }
}
