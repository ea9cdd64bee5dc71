using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Problems;
using DesiredState = Ravel.ControlPlane.Machines.DesiredState;

namespace Ravel.Unit.ControlPlane;

public sealed class NodeReportsTests
{
    private static readonly DateTimeOffset Now = DateTimeOffset.UnixEpoch.AddDays(1);

    [Fact]
    public void How_a_machine_ended_is_still_known_when_it_is_destroyed()
    {
        var row = Row();
        MachineReports.Take(row, Report(MachineState.Stopped, s => s.Exit = new ExitStatus { Code = 3 }), Now);
        MachineReports.Take(row, Report(MachineState.Destroyed), Now);
        Assert.Contains("3", row.Exit, StringComparison.Ordinal);
        Assert.Null(row.LiveName);
        Assert.Equal(Now, row.DestroyedAt);
    }

    [Fact]
    public void Nothing_happens_to_a_destroyed_machine()
    {
        var row = Row();
        MachineReports.Take(row, Report(MachineState.Destroyed), Now);
        Assert.Null(MachineReports.Take(row, Report(MachineState.Started), Now));
        Assert.Equal(MachineStates.Destroyed, row.ObservedState);
    }

    [Fact]
    public void A_start_clears_the_last_exit_and_problem()
    {
        var row = Row();
        MachineReports.Take(
            row, Report(MachineState.Failed, s => { s.Exit = new ExitStatus { Code = 1 }; s.Problem = new Contracts.Node.Problem { Code = "vmm-failed", Message = "x" }; }), Now);
        Assert.Equal("vmm-failed", row.ProblemCode);
        MachineReports.Take(row, Report(MachineState.Started), Now);
        Assert.Null(row.Exit);
        Assert.Null(row.ProblemCode);
    }

    [Fact]
    public void A_machine_shows_what_it_runs_until_it_runs_something_else()
    {
        var row = Row();
        MachineReports.Take(row, Report(MachineState.Started, s => s.Command.AddRange(["nginx", "-g", "daemon off;"])), Now);
        MachineReports.Take(row, Report(MachineState.Stopped), Now);
        Assert.Equal(["nginx", "-g", "daemon off;"], row.Shown("default").Command);

        MachineReports.Take(row, Report(MachineState.Started, s => s.Command.Add("sh")), Now);
        Assert.Equal(["sh"], row.Shown("default").Command);
        // More than an agent of ours says.
        MachineReports.Take(row, Report(MachineState.Started, s => s.Command.Add(new string('x', 1 << 20))), Now);
        Assert.Equal(["sh"], row.Shown("default").Command);
    }

    [Fact]
    public void Text_from_a_node_is_bounded()
    {
        var row = Row();
        var entry = MachineReports.Take(
            row,
            Report(MachineState.Failed, s => s.Problem = new Contracts.Node.Problem { Code = "x", Message = new string('m', 1 << 20) }, new string('t', 1 << 20)),
            Now)!;
        Assert.True(entry.Type.Length <= 32);
        Assert.True(row.ProblemMessage!.Length <= 2048);
    }

    [Fact]
    public void An_answer_does_not_overtake_events()
    {
        var row = Row();
        MachineReports.TakeAnswer(row, new MachineStatus { Generation = 1, State = MachineState.Started }, Now);
        Assert.Equal(1, row.AcceptedGeneration);
        Assert.Null(row.ObservedState);
    }

    [Fact]
    public void A_refusal_of_an_older_generation_is_no_news()
    {
        var row = Row();
        row.Generation = 2;
        MachineReports.TakeRefusal(row, 1, "port-taken", "no", Now);
        Assert.Equal(0, row.RefusedGeneration);
    }

    [Fact]
    public void A_node_may_say_its_code_in_the_trailer_or_in_the_detail()
    {
        Assert.Equal(
            ("port-taken", "Port 80 is taken."),
            ProblemMapper.Refusal(new RpcException(
                new Status(StatusCode.FailedPrecondition, "Port 80 is taken."), new Metadata { { NodeTrailers.ProblemCode, "port-taken" } })));
        Assert.Equal(
            ("insufficient-capacity", "Full."),
            ProblemMapper.Refusal(new RpcException(new Status(StatusCode.FailedPrecondition, "insufficient-capacity: Full."))));
        Assert.Equal(ProblemCodes.NodeUnavailable, ProblemMapper.Refusal(new RpcException(new Status(StatusCode.Unavailable, "x"))).Code);
        Assert.Equal(ProblemCodes.IllegalState, ProblemMapper.Refusal(new RpcException(new Status(StatusCode.FailedPrecondition, "no: way"))).Code);
    }

    [Fact]
    public void A_bug_shows_nothing_of_itself()
    {
        var problem = ProblemMapper.FromException(new InvalidOperationException("secret detail"), "/v1/x");
        Assert.Equal(500, problem.Status);
        Assert.DoesNotContain("secret", problem.Detail, StringComparison.Ordinal);
        var fromNode = ProblemMapper.FromException(new RpcException(new Status(StatusCode.Unknown, "secret detail")), "/v1/x");
        Assert.DoesNotContain("secret", fromNode.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void A_new_entrypoint_takes_the_images_command_away()
    {
        Assert.Empty(Spec(new InitConfig { Entrypoint = ["/bin/sh"] }).Command.Values);
        Assert.Equal(["x"], Spec(new InitConfig { Entrypoint = ["/bin/sh"], Cmd = ["x"] }).Command.Values);
        Assert.Equal(["x"], Spec(new InitConfig { Cmd = ["x"] }).Command.Values);
        Assert.Null(Spec(new InitConfig { Cmd = ["x"] }).Entrypoint);
        Assert.Null(Spec(new InitConfig()).Command);
    }

    private static MachineSpec Spec(InitConfig init)
    {
        var row = Row();
        row.Config = MachineRowMapping.WriteConfig(new MachineConfig { Image = "nginx", Init = init });
        return MachineSpecs.Command(row, "web").Spec;
    }

    private static NodeEvent Report(MachineState state, Action<MachineStatus>? change = null, string type = "start")
    {
        var status = new MachineStatus { MachineId = "0123456789abcd", Generation = 1, ObservedGeneration = 1, State = state };
        change?.Invoke(status);
        return new NodeEvent { Sequence = 1, Type = type, Status = status };
    }

    private static MachineRow Row() => new()
    {
        Id = "0123456789abcd",
        AppId = "a",
        Namespace = "default",
        Name = "front",
        LiveName = "front",
        Config = """{"image":"nginx"}""",
        CreatedAt = Now,
        UpdatedAt = Now,
        Desired = DesiredState.Started,
        Generation = 1,
        NodeId = "node-1",
    };
}
