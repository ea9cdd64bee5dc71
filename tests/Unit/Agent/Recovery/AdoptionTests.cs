using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;

namespace Ravel.Unit.Agent.Recovery;

public sealed class AdoptionTests : IAsyncDisposable
{
    private readonly AgentFixture _host = new();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_running_machine_is_adopted_with_its_log_exec_and_stop()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync(AgentFixture.Spec("sh", "-c", "print first; cat"));
        var before = _host.Status(machine)!;
        await _host.KillAndRestartAsync();

        Assert.Equal(before.InstanceId, _host.Status(machine)!.InstanceId);
        Assert.Equal(MachineState.Started, _host.Status(machine)!.State);
        Assert.Equal(1, _host.Images.LeasesOf(AgentFixture.Image));
        Assert.Single(_host.Network.Attached);

        var start = new ExecStart { MachineId = machine.Value };
        start.Command.AddRange(["print", "hi"]);
        var output = new CollectingWriter<ExecOutput>();
        await _host.Service.Exec(new ChannelStreamReader<ExecInput>(new ExecInput { Start = start }), output, FakeCall.Context());
        Assert.Equal("hi\n", string.Concat(output.Items.Select(o => o.Stdout?.ToStringUtf8())));

        await _host.PutAsync(machine, 2, DesiredState.Stopped);
        await _host.UntilAsync(machine, MachineState.Stopped);
        Assert.Equal("first\n", string.Concat((await _host.LogsAsync(machine)).Select(l => l.Data.ToStringUtf8())));
    }

    [Fact]
    public async Task No_byte_of_the_output_is_lost_or_doubled_over_many_kills()
    {
        const int Bytes = 3_000_000;
        await _host.StartAsync();
        var machine = MachineId.New();
        await _host.PutAsync(machine, 1, DesiredState.Started, AgentFixture.Spec("sh", "-c", $"flood {Bytes}; exit 0"));
        for (var i = 0; i < 6; i++)
        {
            // Each time a little further into the flood.
            await _host.UntilAsync(machine, s => s.State is MachineState.Started or MachineState.Stopped);
            await _host.KillAndRestartAsync();
        }
        await _host.UntilAsync(machine, MachineState.Stopped);
        Assert.Equal(Bytes, (await _host.LogsAsync(machine)).Sum(line => line.Data.Length));
    }

    [Fact]
    public async Task A_VMM_that_went_while_the_agent_was_away_is_noticed()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        _host.VmOf(machine).Die();
        _host.Driver.Faults = _ => new Ravel.Vmm.Fake.FakeVmmFaults();
        await _host.KillAndRestartAsync();
        var status = await _host.UntilAsync(machine, MachineState.Failed);
        Assert.Equal("vmm-failed", status.Problem.Code);
    }

    [Fact]
    public async Task After_a_reboot_of_the_host_declared_machines_run_again_with_their_address_disk_and_volumes()
    {
        var volume = _host.AddVolume();
        await _host.StartAsync();
        var spec = AgentFixture.Spec();
        spec.Mounts.Add(new VolumeMount { VolumeId = volume.Value, Path = "/data" });
        var machine = await _host.RunAsync(spec);
        var disk = Directory.EnumerateFiles(_host.DiskDirectory).Single();
        await File.AppendAllTextAsync(disk, "written");
        var stopped = await _host.RunAsync();
        await _host.PutAsync(stopped, 2, DesiredState.Stopped);
        await _host.UntilAsync(stopped, MachineState.Stopped);
        var before = _host.Status(machine)!;
        await _host.RebootAsync();

        var after = await _host.UntilAsync(machine, MachineState.Started);
        Assert.NotEqual(before.InstanceId, after.InstanceId);
        Assert.Equal((before.AddressV4, before.AddressV6), (after.AddressV4, after.AddressV6));
        Assert.Equal(machine, _host.HolderOf(volume));
        Assert.Contains(_host.VmOf(machine).Spec.Drives, drive => drive.Path.Contains(volume.Value, StringComparison.Ordinal));
        Assert.EndsWith("written", await File.ReadAllTextAsync(disk), StringComparison.Ordinal);
        Assert.Equal(MachineState.Stopped, _host.Status(stopped)!.State);
        Assert.Single(_host.Driver.Vms);
    }

    [Fact]
    public async Task Strays_are_removed()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        var stray = MachineId.New();
        await File.WriteAllTextAsync(Path.Combine(_host.DiskDirectory, stray + ".ext4"), "");
        var strayInstance = InstanceId.New(DateTimeOffset.UnixEpoch);
        Directory.CreateDirectory(Path.Combine(_host.RunDirectory, "vm", strayInstance.ToString()));
        await _host.KillAndRestartAsync();

        Assert.Single(Directory.EnumerateFiles(_host.DiskDirectory));
        Assert.Equal(_host.Status(machine)!.InstanceId, Path.GetFileName(Directory.EnumerateDirectories(Path.Combine(_host.RunDirectory, "vm")).Single()));
    }

    [Fact]
    public async Task A_broken_link_is_made_anew_while_the_machine_runs_on()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync(AgentFixture.Spec("echo-forever", "tick"));
        _host.VmOf(machine).DropLink();
        var sink = new CollectingWriter<LogEntry>();
        using var reading = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var follow = _host.Service.ReadLogs(new ReadLogsRequest { MachineId = machine.Value, Follow = true }, sink, FakeCall.Context(reading.Token));
        for (var i = 0; i < 5; i++)
            Assert.Equal("tick\n", (await sink.Stream.ReadAsync(reading.Token)).Data.ToStringUtf8());
        Assert.Equal(MachineState.Started, _host.Status(machine)!.State);
        await _host.PutAsync(machine, 2, DesiredState.Stopped);
        await follow;
    }

    [Fact]
    public async Task Events_are_numbered_through_and_survive_until_they_are_acknowledged()
    {
        await _host.StartAsync();
        var machine = MachineId.New();
        await _host.PutAsync(machine, 1, DesiredState.Started, AgentFixture.Spec("exit", "0"));
        await _host.UntilAsync(machine, MachineState.Stopped);
        await _host.KillAndRestartAsync();
        var events = await _host.EventsAsync(until: e => e.Type == "stop");
        Assert.Equal(["launch", "start", "exit", "stop"], events.Select(e => e.Type));
        Assert.Equal([1UL, 2, 3, 4], events.Select(e => e.Sequence));

        await _host.PutAsync(machine, 2, DesiredState.Destroyed);
        await _host.UntilAsync(machine, MachineState.Destroyed);
        Assert.Equal((5UL, "destroy", MachineState.Destroyed), Last(await _host.EventsAsync(4, e => e.Type == "destroy")));

        static (ulong, string, MachineState) Last(List<NodeEvent> events) => (events[^1].Sequence, events[^1].Type, events[^1].Status.State);
    }
}
