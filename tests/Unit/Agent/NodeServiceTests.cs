using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;

namespace Ravel.Unit.Agent;

public sealed class NodeServiceTests : IAsyncDisposable
{
    private readonly AgentFixture _host = new();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_machine_runs_prints_exits_and_leaves_nothing_but_its_disk_and_log()
    {
        await _host.StartAsync();
        var machine = MachineId.New();
        await _host.PutAsync(machine, 1, DesiredState.Started, AgentFixture.Spec("sh", "-c", "print hello; print-err oops; exit 7"));
        var status = await _host.UntilAsync(machine, MachineState.Stopped);

        Assert.Equal(7, status.Exit.Code);
        Assert.False(status.Exit.Requested);
        Assert.Equal(1UL, status.ObservedGeneration);
        var logs = await _host.LogsAsync(machine);
        Assert.Equal(["stderr oops\n", "stdout hello\n"], logs.Select(l => $"{l.Stream} {l.Data.ToStringUtf8()}").Order());
        Assert.Empty(_host.Driver.Vms);
        Assert.Empty(_host.Network.Attached);
        Assert.Equal(0, _host.Images.LeasesOf(AgentFixture.Image));
        Assert.Empty(Directory.EnumerateDirectories(Path.Combine(_host.RunDirectory, "vm")));
    }

    [Fact]
    public async Task A_running_machine_is_stopped_by_its_signal_and_started_again_by_a_newer_generation()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        await _host.PutAsync(machine, 2, DesiredState.Stopped);
        var stopped = await _host.UntilAsync(machine, MachineState.Stopped);
        Assert.Equal((143, 15, true), (stopped.Exit.Code, stopped.Exit.Signal, stopped.Exit.Requested));

        await _host.PutAsync(machine, 3, DesiredState.Started);
        var started = await _host.UntilAsync(machine, MachineState.Started);
        Assert.NotEqual(stopped.InstanceId, started.InstanceId);
        Assert.Equal(stopped.AddressV4, started.AddressV4);
    }

    [Fact]
    public async Task A_destroyed_machine_is_gone_with_disk_and_log_and_stays_destroyed()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        Assert.Single(Directory.EnumerateFiles(_host.DiskDirectory));
        await _host.PutAsync(machine, 2, DesiredState.Destroyed);
        await _host.UntilAsync(machine, MachineState.Destroyed);

        Assert.Empty(Directory.EnumerateFiles(_host.DiskDirectory));
        Assert.Empty(_host.Driver.Vms);
        var late = await _host.PutAsync(machine, 1, DesiredState.Started);
        Assert.Equal(MachineState.Destroyed, late.State);
        var refused = await Assert.ThrowsAsync<RpcException>(() => _host.PutAsync(machine, 3, DesiredState.Started));
        Assert.Equal(ProblemCodes.IllegalState, refused.Trailers.GetValue(NodeTrailers.ProblemCode));
    }

    [Fact]
    public async Task Exec_carries_input_output_and_the_exit_code()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        var start = new ExecStart { MachineId = machine.Value };
        start.Command.AddRange(["sh", "-c", "cat; print-err done; exit 3"]);
        var input = new ChannelStreamReader<ExecInput>(
            new ExecInput { Start = start },
            new ExecInput { Stdin = Google.Protobuf.ByteString.CopyFromUtf8("abc") },
            new ExecInput { StdinClosed = true });
        var output = new CollectingWriter<ExecOutput>();
        await _host.Service.Exec(input, output, FakeCall.Context());

        Assert.Equal("abc", string.Concat(output.Items.Select(o => o.Stdout?.ToStringUtf8())));
        Assert.Equal("done\n", string.Concat(output.Items.Select(o => o.Stderr?.ToStringUtf8())));
        Assert.Equal(3, output.Items[^1].Exit.Code);
    }
}
