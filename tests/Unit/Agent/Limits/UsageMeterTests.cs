using System.Text.Json;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;
using Ravel.Vmm;
using Ravel.Vmm.Qemu;

namespace Ravel.Unit.Agent.Limits;

public sealed class UsageMeterTests
{
    [Fact]
    public async Task A_machine_that_runs_has_counters_and_one_that_rests_has_its_disk()
    {
        await using var host = await new AgentFixture().StartAsync();
        var running = await host.RunAsync();
        var stopped = await host.RunAsync();
        await host.PutAsync(stopped, 2, DesiredState.Stopped, force: true);
        await host.UntilAsync(stopped, MachineState.Stopped);

        var usage = await ReadAsync(host, running, stopped, MachineId.New());

        var one = usage[running.Value];
        Assert.Equal(host.Status(running)!.InstanceId, one.InstanceId);
        Assert.True(one.CpuTime.ToTimeSpan() >= TimeSpan.Zero);
        Assert.Equal((64ul << 20, 64ul << 20), (one.MemoryBytes, one.MemoryLimitBytes));
        Assert.Equal(new DiskCounters { ReadBytes = 4096, WrittenBytes = 512, Reads = 8, Writes = 1 }, one.Disk);
        Assert.Equal(new NetworkCounters { ReceivedBytes = 100, ReceivedPackets = 1, SentBytes = 20, SentPackets = 2 }, one.Network);
        Assert.Equal(16ul << 20, one.DiskLimitBytes);

        var other = usage[stopped.Value];
        Assert.Equal(("", null, null, null), (other.InstanceId, other.CpuTime, other.Disk, other.Network));
        Assert.Equal(16ul << 20, other.DiskLimitBytes);
        Assert.Equal(2, usage.Count);
    }

    [Fact]
    public void A_QEMU_adds_up_its_drives_and_is_not_believed_everything()
    {
        using var sound = JsonDocument.Parse(
            """[{"stats":{"rd_bytes":1,"wr_bytes":2,"rd_operations":3,"wr_operations":4}},{"stats":{"rd_bytes":10,"wr_bytes":-5,"rd_operations":9223372036854775807}}]""");
        Assert.Equal(new DiskUsage(11, 2, long.MaxValue, 4), QemuVm.DiskUsageOf(sound.RootElement));

        using var nonsense = JsonDocument.Parse("""[1,{"stats":7},{"stats":{"rd_bytes":"x","wr_bytes":1e300}}]""");
        Assert.Equal(new DiskUsage(0, 0, 0, 0), QemuVm.DiskUsageOf(nonsense.RootElement));
        using var other = JsonDocument.Parse("{}");
        Assert.Equal(new DiskUsage(0, 0, 0, 0), QemuVm.DiskUsageOf(other.RootElement));
    }

    private static async Task<Dictionary<string, MachineUsage>> ReadAsync(AgentFixture host, params MachineId[] machines)
    {
        var request = new ReadUsageRequest();
        request.MachineIds.AddRange(machines.Select(machine => machine.Value));
        var response = await host.Service.ReadUsage(request, FakeCall.Context());
        return response.Machines.ToDictionary(usage => usage.MachineId);
    }
}
