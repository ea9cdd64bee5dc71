using Ravel.Contracts.Link;
using Ravel.GuestInit;
using Ravel.GuestInit.Processes;
using Ravel.GuestInit.Setup;

namespace Ravel.Unit.GuestInit;

public sealed class GuestSetupTests
{
    private static readonly NetworkConfig Network = new()
    {
        Mac = "06:00:ac:10:00:02",
        Addresses = ["100.64.0.2/32", "fd12::2/128"],
        Gateways = ["100.64.0.1", "fe80::1"],
        Nameservers = ["100.64.0.1"],
        SearchDomains = ["web.internal", "internal"],
    };

    [Fact]
    public void An_environment_has_dockers_defaults_where_nothing_was_said()
    {
        var environment = ProcessEnvironment.Build(new ProcessConfig { Arguments = ["x"], Tty = true }, "host-1", "/home/app");
        Assert.Equal([$"PATH={ProcessEnvironment.DefaultPath}", "HOSTNAME=host-1", "TERM=xterm", "HOME=/home/app"], environment);
    }

    [Fact]
    public void What_was_said_wins_the_last_time_it_was_said()
    {
        var process = new ProcessConfig { Arguments = ["x"], Environment = ["A=1", "PATH=/x", "AB=2", "A=3", "HOME=", "bad", "=worse", "EQ=a=b"] };
        Assert.Equal(["PATH=/x", "HOSTNAME=h", "HOME=", "A=3", "AB=2", "EQ=a=b"], ProcessEnvironment.Build(process, "h", "/root"));
    }

    [Fact]
    public void Hosts_and_resolver_name_the_machine_and_its_network()
    {
        Assert.EndsWith("100.64.0.2\tweb-1\nfd12::2\tweb-1\n", EtcFiles.Hosts("web-1", Network), StringComparison.Ordinal);
        Assert.EndsWith("127.0.1.1\tweb-1\n", EtcFiles.Hosts("web-1", null), StringComparison.Ordinal);
        Assert.Equal("search web.internal internal\nnameserver 100.64.0.1\n", EtcFiles.Resolver(Network));
    }

    [Theory]
    [InlineData("10.0.0.1/24", "10.0.0.1", 24)]
    [InlineData("10.0.0.1", "10.0.0.1", 32)]
    [InlineData("fd00::1/64", "fd00::1", 64)]
    [InlineData("fd00::1", "fd00::1", 128)]
    public void Addresses_have_a_prefix_or_are_alone(string text, string address, int prefix)
    {
        var (ip, length) = NetworkSetup.ParseAddress(text);
        Assert.Equal((address, prefix), (ip.ToString(), length));
    }

    [Theory]
    [InlineData("10.0.0.1/33")]
    [InlineData("10.0.0.1/-1")]
    [InlineData("fd00::1/129")]
    [InlineData("example/24")]
    [InlineData("")]
    public void What_is_no_address_is_refused_by_name(string text) =>
        Assert.Contains($"{text} is no", Assert.Throws<SetupException>(() => NetworkSetup.ParseAddress(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_mac_address_is_six_bytes()
    {
        Assert.Equal([6, 0, 0xac, 0x10, 0, 2], NetworkSetup.ParseMac(Network.Mac));
        foreach (var bad in (string[])["", "06:00:ac:10:00", "06:00:ac:10:00:zz", "06:00:ac:10:00:02:03"])
            Assert.Throws<SetupException>(() => NetworkSetup.ParseMac(bad));
    }

    [Fact]
    public void Modules_are_loaded_by_stage_in_the_lists_order()
    {
        var list = GuestModuleList.Parse("link /modules/b.ko\nmachine /modules/c.ko\nlink /modules/a.ko\n\nnonsense\n");
        Assert.Equal(["/modules/b.ko", "/modules/a.ko"], list.Paths("link"));
        Assert.Equal(["/modules/c.ko"], list.Paths("machine"));
        Assert.Empty(list.Paths("vsock"));
    }
}
