using Ravel.Agent.Capacity;
using Ravel.Bench.Daemon;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Linux.Processes;
using Ravel.Testing.Agent;
using Ravel.Vmm;
using Ravel.Vmm.Fake;

namespace Ravel.Bench.Agent;

/// <summary>
/// What a machine that runs takes of the agent's memory: what the process grows by with many of them, after everything that is
/// garbage is gone. Fake VMMs live in the process, too; what they take is measured alone, with the host's end of the link.
/// </summary>
internal static class Density
{
    public const int Machines = 500;

    /// <summary>For more machines than the host has room for.</summary>
    public static CapacityOptions Room { get; } = new() { CpuOvercommit = 10_000, ReservedMemoryMib = -1_000_000_000, DiskOvercommit = 10_000 };

    /// <summary>Per machine that the agent runs, its fake VMM included.</summary>
    public static async Task<Footprint> OfAgentAsync(CancellationToken cancellationToken)
    {
        await using var host = new AgentFixture { Capacity = Room };
        await host.StartAsync();
        await host.RunAsync();
        var before = Footprint.Now();
        for (var i = 0; i < Machines; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            await host.RunAsync();
        }
        return (Footprint.Now() - before) / Machines;
    }

    /// <summary>Per fake VMM with a link to its guest, which runs a workload, and no agent.</summary>
    public static async Task<Footprint> OfFakesAsync(CancellationToken cancellationToken)
    {
        var driver = new FakeVmmDriver();
        var links = new List<HostLink>();
        var directory = Directory.CreateTempSubdirectory("ravel-bench-density-").FullName;
        try
        {
            links.Add(await ConnectAsync(driver, directory, cancellationToken));
            var before = Footprint.Now();
            for (var i = 0; i < Machines; i++)
                links.Add(await ConnectAsync(driver, directory, cancellationToken));
            return (Footprint.Now() - before) / Machines;
        }
        finally
        {
            foreach (var link in links)
                await link.DisposeAsync();
            Directory.Delete(directory, recursive: true);
        }
    }

    private static async Task<HostLink> ConnectAsync(FakeVmmDriver driver, string directory, CancellationToken cancellationToken)
    {
        var spec = new VmSpec
        {
            Id = InstanceId.New(TimeProvider.System.GetUtcNow()).ToString(),
            RunDirectory = directory,
            Cpus = 1,
            MemoryMib = 64,
            Boot = new BootSource("/kernel", "/initramfs"),
            Cgroup = "bench",
        };
        var vmm = await driver.LaunchAsync(spec, cancellationToken);
        var channel = await vmm.ConnectGuestAsync(cancellationToken);
        var link = await HostLink.ConnectAsync(
            channel.Stream, channel.IsLossy, new HostHello(LinkProtocol.MinimumVersion, LinkProtocol.Version, 0, 0), cancellationToken);
        // As the agent's fixture has it: a guest with a workload holds more than one that waits.
        var workload = new ProcessConfig { Arguments = ["sleep", "infinity"] };
        await link.SendAsync(new Configure(new GuestConfig { Hostname = "floor", Root = new RootConfig("/dev/vda", "/dev/vdb"), Workload = workload }), cancellationToken);
        while (await link.Messages.ReadAsync(cancellationToken) is not WorkloadStarted)
        {
        }
        return link;
    }
}

/// <summary>What a process takes, in KiB.</summary>
/// <param name="Resident">Of its memory, in RAM.</param>
/// <param name="Heap">Of objects that are alive.</param>
internal readonly record struct Footprint(double Resident, double Heap)
{
    /// <summary>Of this process, once everything that is garbage is gone.</summary>
    public static Footprint Now()
    {
        for (var i = 0; i < 3; i++)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }
        NativeHeap.Trim();
        return new Footprint(ProcessFigures.ResidentKib(Environment.ProcessId), GC.GetTotalMemory(forceFullCollection: true) / 1024.0);
    }

    public static Footprint operator -(Footprint left, Footprint right) => new(left.Resident - right.Resident, left.Heap - right.Heap);

    public static Footprint operator /(Footprint whole, int parts) => new(whole.Resident / parts, whole.Heap / parts);
}
