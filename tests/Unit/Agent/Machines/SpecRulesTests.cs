using Ravel.Agent.Guests;
using Ravel.Agent.Machines;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;

namespace Ravel.Unit.Agent.Machines;

public sealed class SpecRulesTests
{
    public static TheoryData<string, Action<MachineSpec>> Wrong => new()
    {
        { "namespace", s => s.Namespace = "" },
        { "image", s => s.Image = "" },
        { "image", s => s.Image = "a\nb" },
        { "cpus", s => s.Cpus = 33 },
        { "memory_mib", s => s.MemoryMib = 63 },
        { "disk_mib", s => s.DiskMib = 1 },
        { "hostname", s => s.Hostname = "a b" },
        { "pull_policy", s => s.PullPolicy = (PullPolicy)9 },
        { "stop.signal", s => s.Stop.Signal = 65 },
        { "stop.signal", s => s.Stop.Signal = -1 },
        { "stop.timeout", s => s.Stop.Timeout.Seconds = 3601 },
        { "restart.kind", s => s.Restart = new RestartPolicy { Kind = (RestartPolicy.Types.Kind)9 } },
        { "environment", s => s.Environment.Add(new EnvironmentVariable { Name = "A=B" }) },
        { "environment variable A", s => s.Environment.Add(new EnvironmentVariable { Name = "A", Value = "\0" }) },
        { "ports.protocol", s => s.Ports.Add(new PublishedPort { Protocol = "icmp", HostPort = 1, GuestPort = 1 }) },
        { "ports.host_port", s => s.Ports.Add(new PublishedPort { Protocol = "tcp", HostPort = 65536, GuestPort = 1 }) },
        { "ports.host_address", s => s.Ports.Add(new PublishedPort { Protocol = "tcp", HostPort = 1, GuestPort = 1, HostAddress = "::1" }) },
        {
            "twice", s =>
            {
                s.Ports.Add(new PublishedPort { Protocol = "tcp", HostPort = 1, GuestPort = 1 });
                s.Ports.Add(new PublishedPort { Protocol = "tcp", HostPort = 1, GuestPort = 2 });
            }
        },
        { "larger", s => s.User = new string('x', 3_000_000) },
    };

    [Theory]
    [MemberData(nameof(Wrong), DisableDiscoveryEnumeration = true)]
    public void What_is_out_of_bounds_is_refused_by_name(string name, Action<MachineSpec> change)
    {
        var spec = AgentFixture.Spec();
        change(spec);
        var refused = Assert.Throws<InstanceException>(() => SpecRules.Check(spec));
        Assert.Equal("invalid-request", refused.Code);
        Assert.Contains(name, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_ordinary_specification_passes() => SpecRules.Check(AgentFixture.Spec("sleep", "infinity"));
}
