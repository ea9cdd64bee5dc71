using System.Diagnostics;
using Ravel.Linux.Cgroups;
using Ravel.Linux.Processes;
using Ravel.Testing.Needs;

namespace Ravel.Integration.Linux.Cgroups;

/// <summary>The kernel's own limits, with processes that do not keep to them.</summary>
public sealed class CgroupLimitTests : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly CgroupTree _tree;
    private readonly List<Cgroup> _groups = [];

    public CgroupLimitTests()
    {
        Need.Root();
        _tree = CgroupTree.Detect($"ravel-limits-{Environment.ProcessId}");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var group in _groups)
        {
            await group.KillAllAsync(TimeProvider.System, Patience, CancellationToken.None);
            await group.RemoveAsync(TimeProvider.System, CancellationToken.None);
        }
    }

    [Fact]
    public async Task A_process_that_spins_gets_no_more_than_the_ceiling()
    {
        var group = Create(new CgroupLimits(Cpus: 0.1, CpuWeight: 50));

        var began = Stopwatch.GetTimestamp();
        await Start(group, "exec timeout 2 sh -c 'while :; do :; done'").Exited.WaitAsync(Patience);
        var elapsed = Stopwatch.GetElapsedTime(began);

        var usage = group.ReadUsage();
        // A period more than the time allows for, on either side.
        Assert.InRange(usage.CpuTime!.Value.TotalSeconds, 0.01, (elapsed.TotalSeconds * 0.1 * 1.25) + 0.1);
        Assert.True(usage.ThrottledPeriods > 0, "it never had to wait");
    }

    [Fact]
    public async Task A_ceiling_can_be_lifted_under_a_process_that_runs()
    {
        var group = Create(new CgroupLimits(Cpus: 0.01));
        var spinning = Start(group, "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done");

        group.Limit(new CgroupLimits(Cpus: 64));

        Assert.Equal(new ExitStatus(0, 0), await spinning.Exited.WaitAsync(Patience));
    }

    [Fact]
    public async Task A_process_that_leaks_is_ended_before_it_has_more_than_its_memory()
    {
        var group = Create(new CgroupLimits(MemoryBytes: 32 << 20));

        // A last line without an end: all of it is kept.
        var leaking = Start(group, "exec tail /dev/zero");

        Assert.Equal(9, (await leaking.Exited.WaitAsync(Patience))!.Value.Signal);
    }

    private Cgroup Create(CgroupLimits limits)
    {
        var group = _tree.Create($"limits-{_groups.Count}", limits);
        _groups.Add(group);
        return group;
    }

    private static DetachedProcess Start(Cgroup group, string script)
    {
        var process = DetachedProcess.Start(new DetachedProcessSpec("/bin/sh", ["-c", script]) { Cgroup = group });
        process.Hold.Dispose();
        return process;
    }
}
