using Ravel.Agent.Guests;
using Ravel.Agent.Instances;
using Ravel.Agent.Limits;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;
using Ravel.Unit.Agent.Instances;
using Ravel.Vmm;

namespace Ravel.Unit.Agent.Limits;

public sealed class MachineLimitsTests
{
    private static readonly ResourceLimits All = new()
    {
        CpuWeight = 7, CpuThousandths = 250, DiskBytesPerSecond = 1 << 20, DiskOperationsPerSecond = 100, NetworkBytesPerSecond = 20_000,
    };

    [Fact]
    public void A_machine_that_says_nothing_weighs_what_its_CPUs_weigh_and_has_no_other_limit()
    {
        var spec = AgentFixture.Spec();
        spec.Cpus = 3;
        Assert.Equal(new VmLimits { CpuWeight = 300 }, MachineLimits.Of(spec));
        Assert.Null(MachineLimits.NetworkBytesPerSecond(spec));
    }

    [Fact]
    public void What_is_said_is_what_the_VMM_is_told()
    {
        Assert.Equal(
            new VmLimits { CpuWeight = 7, Cpus = 0.25, Disk = new RateLimit(1 << 20, 100), Network = new RateLimit(20_000) },
            MachineLimits.Of(With(All)));
    }

    [Fact]
    public void Out_of_range_is_refused_by_name()
    {
        MachineLimits.Check(With(All));
        Refused(l => l.CpuWeight = 10_001, "limits.cpu_weight");
        Refused(l => l.CpuThousandths = 9, "limits.cpu_thousandths");
        Refused(l => l.CpuThousandths = 1001, "limits.cpu_thousandths");
        Refused(l => l.DiskBytesPerSecond = 1, "limits.disk_bytes_per_second");
        Refused(l => l.DiskOperationsPerSecond = 9, "limits.disk_operations_per_second");
        Refused(l => l.NetworkBytesPerSecond = ulong.MaxValue, "limits.network_bytes_per_second");
    }

    [Theory]
    [InlineData(InstanceState.Booting)]
    [InlineData(InstanceState.Running)]
    public void Other_limits_are_taken_on_by_the_instance_that_runs(object state)
    {
        var machine = Records.In((InstanceState)state);

        var decision = InstanceStates.Decide(machine, Put(machine, With(All)), Records.Context());

        Assert.Equal([InstanceEffect.Limit], decision.Effects);
        Assert.Equal(machine.Instance!.Id, decision.Next!.Instance!.Id);
        Assert.Equal(All, decision.Next.Instance.Spec.Limits);
        Assert.Equal((2ul, 2ul), (decision.Next.ObservedGeneration, decision.Next.Instance.Generation));
    }

    [Fact]
    public void More_than_other_limits_replaces_the_instance()
    {
        var spec = With(All);
        spec.MemoryMib++;
        var decision = InstanceStates.Decide(Records.In(InstanceState.Running), Put(Records.In(InstanceState.Running), spec), Records.Context());
        Assert.Equal(InstanceState.Stopping, decision.Next!.State);
    }

    [Fact]
    public void Saved_memory_goes_on_under_other_limits()
    {
        var machine = Records.In(InstanceState.Suspended, i => i with { Facts = i.Facts with { Memory = Records.Memory } }) with { Desired = DesiredState.Suspended };

        var next = InstanceStates.Decide(machine, Put(machine, With(All)), Records.Context()).Next!;

        Assert.Equal((InstanceState.Starting, Records.Memory), (next.State, next.Instance!.Facts.Memory));
        Assert.Equal(All, next.Instance.Spec.Limits);
    }

    [Fact]
    public async Task A_running_machine_is_told_and_so_is_its_network()
    {
        await using var host = await new AgentFixture().StartAsync();
        var machine = await host.RunAsync();
        var vm = host.VmOf(machine);

        await host.PutAsync(machine, 2, DesiredState.Started, With(All));
        await vm.Limited.WaitAsync(TimeSpan.FromSeconds(30));

        Assert.Equal((7, 20_000), (vm.Limits.CpuWeight, host.Network.Attached.Values.Single().BytesPerSecond));
        Assert.Same(vm, host.VmOf(machine));
    }

    [Fact]
    public async Task Limits_that_were_committed_and_not_set_are_set_by_the_next_agent()
    {
        await using var host = await new AgentFixture().StartAsync();
        var machine = await host.RunAsync();
        var vm = host.VmOf(machine);
        // The agent dies with the answer to the command.
        host.Crash.Hold = new EffectHold(nameof(IVmm.SetLimitsAsync));
        await host.PutAsync(machine, 2, DesiredState.Started, With(All));
        Assert.False(vm.Limited.IsCompleted);

        await host.KillAndRestartAsync();
        await vm.Limited.WaitAsync(TimeSpan.FromSeconds(30));

        Assert.Equal((7, 20_000), (vm.Limits.CpuWeight, host.Network.Attached.Values.Single().BytesPerSecond));
    }

    private static MachineSpec With(ResourceLimits limits)
    {
        var spec = AgentFixture.Spec();
        spec.Limits = limits;
        return spec;
    }

    private static void Refused(Action<ResourceLimits> change, string member)
    {
        var limits = All.Clone();
        change(limits);
        Assert.StartsWith(member, Assert.Throws<InstanceException>(() => MachineLimits.Check(With(limits))).Message, StringComparison.Ordinal);
    }

    private static InstanceEvent.Put Put(MachineRecord machine, MachineSpec spec) => new(machine.Id, 2, DesiredState.Started, spec, false);
}
