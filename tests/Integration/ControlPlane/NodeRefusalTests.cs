using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.Testing.ControlPlane;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.Integration.ControlPlane;

/// <summary>A node that says no to what is wanted of a machine that runs: it runs on, and nobody is told anything else.</summary>
public sealed class NodeRefusalTests : IAsyncLifetime
{
    private ControlPlaneHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await ControlPlaneHost.StartAsync(options => options with { SweepInterval = TimeSpan.FromMilliseconds(50) });
        await _host.Client.CreateAppAsync("web");
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_machine_that_cannot_be_suspended_runs_on_and_an_event_says_why(bool autoDestroy)
    {
        var machine = await RunAsync(autoDestroy);
        _host.Node.OnPut = put =>
        {
            if (put.Desired == Rpc.DesiredState.Suspended)
                throw FakeNode.Refusal("insufficient-capacity", "64 MiB of disk are wanted, 3 are free");
        };
        await _host.Client.DoAsync(machine, "suspend").OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        var events = await _host.Client.GetAsync($"{ApiCalls.PathOf(machine)}/events").ReadAsync(ApiJson.Default.IReadOnlyListMachineEvent);
        Assert.Contains(events, e => e is { Type: "fail", Problem.Code: ProblemCodes.InsufficientCapacity });
        Assert.DoesNotContain(_host.Node.Puts, put => put.Desired == Rpc.DesiredState.Destroyed);
    }

    [Fact]
    public async Task A_stop_that_a_full_disk_keeps_from_being_written_down_is_told_again()
    {
        var machine = await RunAsync(autoDestroy: false);
        var refusals = 0;
        _host.Node.OnPut = put =>
        {
            if (put.Desired == Rpc.DesiredState.Stopped && refusals++ < 3)
            {
                throw new RpcException(
                    new Status(StatusCode.ResourceExhausted, "the disk that holds the journal is full: free some space"),
                    new Metadata { { Rpc.NodeTrailers.ProblemCode, "disk-full" } });
            }
        };
        await _host.Client.DoAsync(machine, "stop").OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
        Assert.Equal(4, refusals);
    }

    private async Task<Machine> RunAsync(bool autoDestroy)
    {
        var machine = await _host.Client.CreateMachineAsync(
            "web", new CreateMachineRequest { Config = new MachineConfig { Image = "nginx", AutoDestroy = autoDestroy } });
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        return machine;
    }
}
