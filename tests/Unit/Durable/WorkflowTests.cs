using Ravel.Durable.Workflows;

namespace Ravel.Unit.Durable;

public sealed class WorkflowTests
{
    private static readonly string[] Names = ["a", "b", "c"];

    private readonly List<string> _trace = [];
    private readonly HashSet<string> _made = [];
    private string? _failing;
    private int _commitsUntilCrash = int.MaxValue;
    private WorkflowPosition? _position;
    private string _context = "";
    private Func<string, Task>? _onDo;

    [Fact]
    public async Task Steps_are_done_in_order_and_the_context_is_handed_on()
    {
        var outcome = await RunAsync(Workflow().Beginning);
        Assert.True(outcome.IsDone);
        Assert.Equal("abc", outcome.Context);
        Assert.Equal(["do a", "do b", "do c"], _trace);
    }

    [Theory]
    [InlineData("a", "do a,undo a")]
    [InlineData("b", "do a,do b,undo b,undo a")]
    [InlineData("c", "do a,do b,do c,undo c,undo b,undo a")]
    public async Task A_failed_step_and_all_before_it_are_undone_in_reverse_order(string failing, string trace)
    {
        _failing = failing;
        var outcome = await RunAsync(Workflow().Beginning);
        Assert.False(outcome.IsDone);
        Assert.Equal($"{failing} failed", outcome.Failure!.Message);
        Assert.Equal(trace.Split(','), _trace);
        Assert.Empty(_made);
    }

    [Fact]
    public async Task Cancellation_turns_the_run_around()
    {
        using var cancellation = new CancellationTokenSource();
        var outcome = await RunAsync(Workflow(onDo: name => name == "b" ? cancellation.CancelAsync() : Task.CompletedTask).Beginning, cancellation.Token);
        Assert.False(outcome.IsDone);
        Assert.Equal(["do a", "do b", "undo c", "undo b", "undo a"], _trace);
        Assert.Empty(_made);
    }

    [Fact]
    public async Task Starting_at_the_end_undoes_everything()
    {
        await RunAsync(Workflow().Beginning);
        _trace.Clear();
        await RunAsync(Workflow().End);
        Assert.Equal(["undo c", "undo b", "undo a"], _trace);
        Assert.Empty(_made);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("a")]
    [InlineData("b")]
    [InlineData("c")]
    public async Task A_crash_at_any_commit_and_a_resumption_end_as_without_the_crash(string? failing)
    {
        _failing = failing;
        for (var crashAt = 0; ; crashAt++)
        {
            _position = Workflow().Beginning;
            _context = "";
            _commitsUntilCrash = crashAt;
            var crashed = false;
            try
            {
                await RunAsync(_position.Value);
            }
            catch (OperationCanceledException)
            {
                crashed = true;
            }

            _commitsUntilCrash = int.MaxValue;
            if (_position is { } position)
                await RunAsync(position);
            Assert.Null(_position);
            Assert.Equal(failing is null ? Names : [], _made.Order());
            _made.Clear();
            if (!crashed)
                break;
            Assert.InRange(crashAt, 0, 7);
        }
    }

    [Fact]
    public async Task An_undo_that_fails_is_tried_again_when_asked_for()
    {
        await RunAsync(Workflow().Beginning);
        var attempts = new List<int>();
        var steps = new Workflow<string>(new WorkflowStep<string>("a", (c, _) => Task.FromResult(c), _ =>
            attempts.Count < 2 ? throw new IOException("busy") : Task.CompletedTask));
        await steps.RunAsync(steps.End, "", _ => Task.CompletedTask, (_, _, attempt) =>
        {
            attempts.Add(attempt);
            return Task.CompletedTask;
        }, CancellationToken.None);
        Assert.Equal([1, 2], attempts);
    }

    [Fact]
    public void Two_steps_of_one_name_are_refused() =>
        Assert.Throws<ArgumentException>(() => new Workflow<string>(Step("a"), Step("a")));

    private Task<WorkflowOutcome<string>> RunAsync(WorkflowPosition from, CancellationToken cancellationToken = default) =>
        Run(Workflow(), from, cancellationToken);

    private Task<WorkflowOutcome<string>> Run(Workflow<string> workflow, WorkflowPosition from, CancellationToken cancellationToken) =>
        workflow.RunAsync(
            from,
            _context,
            progress =>
            {
                // A crash before the commit: the work is done, nobody wrote it down.
                if (_commitsUntilCrash-- == 0)
                    throw new OperationCanceledException("crash");
                _position = progress.Next;
                _context = progress.Context;
                return Task.CompletedTask;
            },
            (_, e, _) => throw e,
            cancellationToken);

    private Workflow<string> Workflow(Func<string, Task>? onDo = null)
    {
        _onDo = onDo ?? _onDo;
        return new Workflow<string>([.. Names.Select(Step)]);
    }

    private WorkflowStep<string> Step(string name) => new(
        name,
        async (context, _) =>
        {
            _trace.Add($"do {name}");
            _made.Add(name);
            if (_onDo is { } onDo)
                await onDo(name);
            if (_failing == name)
                throw new InvalidDataException($"{name} failed");
            return context + name;
        },
        _ =>
        {
            _trace.Add($"undo {name}");
            _made.Remove(name);
            return Task.CompletedTask;
        });
}
