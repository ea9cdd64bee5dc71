using Ravel.Testing.Cluster.Bed;

namespace Ravel.EndToEnd.Cluster;

/// <summary>Real virtual machines on several hosts: each host its own taps, packet rules and control groups, and either server reaches all.</summary>
public sealed class SpreadTests
{
    [Fact]
    public Task Machines_on_two_hosts_are_listed_followed_and_entered_through_either_server() => SpreadAsync(hosts: 2, machines: 2, host => ["--constraint", $"host=host{host}"]);

    [Fact(Explicit = true)]
    [Trait("Kind", "Soak")]
    public Task Ten_machines_on_three_hosts_are_listed_followed_and_entered_through_either_server() => SpreadAsync(hosts: 3, machines: 10, _ => []);

    /// <param name="hosts">How many.</param>
    /// <param name="machines">How many, enough for some on each host.</param>
    /// <param name="where">Options for a machine that is meant for the n-th host: where few machines go first is the planner's to say.</param>
    private static async Task SpreadAsync(int hosts, int machines, Func<int, string[]> where)
    {
        await using var bed = await TestBed.CreateAsync(new TestBedOptions { Hosts = hosts, Vmm = "qemu" });
        var names = Enumerable.Range(1, machines).Select(i => $"m{i}").ToList();
        foreach (var (name, i) in names.Select((name, i) => (name, i)))
        {
            await bed.Servers[i % 2].RavelOkAsync(
                ["run", "-d", "--name", name, "--memory", "128m", .. where((i % hosts) + 1), bed.Busybox, "sh", "-c", $"echo {name} is up; exec sleep 1000000"]);
        }

        foreach (var server in bed.Servers)
        {
            var nodes = await server.NodesAsync();
            Assert.Equal(machines, nodes.Sum(node => node.MachineCount));
            Assert.All(nodes, node => Assert.NotEqual(0, node.MachineCount));
            var listed = await server.RavelOkAsync("ps");
            Assert.All(names, name => Assert.Contains(name, listed, StringComparison.Ordinal));
            foreach (var name in names)
            {
                await using var logs = server.StartRavel("logs", "-f", name);
                Assert.Equal($"{name} is up", await logs.ReadLineAsync());
                Assert.Equal(name + "\n", await server.RavelOkAsync("exec", name, "sh", "-c", $"echo {name}"));
            }
        }
    }
}
