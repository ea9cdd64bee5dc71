using Ravel.Agent.Networking;

namespace Ravel.Unit.Agent.Networking;

public sealed class HostResolverTests
{
    [Theory]
    [InlineData("nameserver 192.0.2.53\nnameserver 192.0.2.54\n", null, "192.0.2.53")]
    [InlineData("# nameserver 192.0.2.1\nsearch example\n\tnameserver\t192.0.2.2 # home\n", null, "192.0.2.2")]
    [InlineData("nameserver 2001:db8::1\nnameserver 192.0.2.3\n", null, "192.0.2.3")]
    [InlineData("nameserver nonsense\nnameserver 0.0.0.0\n", null, null)]
    [InlineData("nameserver 127.0.0.1\n", "nameserver 192.0.2.9\n", "127.0.0.1")]
    [InlineData("nameserver 127.0.0.53\n", "nameserver 2001:db8::1\nnameserver 192.0.2.9\n", "192.0.2.9")]
    [InlineData("nameserver 127.0.0.53\n", null, "127.0.0.53")]
    [InlineData("", "nameserver 192.0.2.9\n", null)]
    [InlineData(null, null, null)]
    public void First_nameserver_that_can_answer_guests_is_chosen(string? resolvConf, string? systemd, string? expected) =>
        Assert.Equal(expected, HostResolver.Choose(resolvConf, systemd)?.ToString());
}
