using System.Runtime.InteropServices;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>
/// Stays with a machine until its workload has ended: shows its output, passes signals on (the first stops it, the second
/// kills it) and ends with its exit code.
/// </summary>
internal sealed class AttachedRun
{
    /// <summary>How long output may still trickle in after the end is known, counted from the last line.</summary>
    private static readonly TimeSpan Trailing = TimeSpan.FromSeconds(3);

    private static readonly Task Never = new TaskCompletionSource().Task;

    private const int MaxNotes = 40;

    private readonly Session _session;
    private readonly Machine _machine;
    private readonly LogPrinter _printer;
    private readonly WorkloadInput? _input;
    private readonly bool _fromNow;

    /// <summary>What Ravel itself wrote into the log, kept until the end is known.</summary>
    private readonly List<LogLine> _notes = [];
    private readonly Lock _gate = new();
    private string? _lastTimestamp;
    private long _lastLineAt;
    private Task _signals = Task.CompletedTask;

    /// <param name="session">The invocation.</param>
    /// <param name="machine">Whose workload.</param>
    /// <param name="input">What goes to it; null = nothing.</param>
    /// <param name="fromNow">Without what it has printed before.</param>
    public AttachedRun(Session session, Machine machine, WorkloadInput? input = null, bool fromNow = false)
    {
        _input = input;
        _fromNow = fromNow;
        _session = session;
        _machine = machine;
        _printer = new LogPrinter(session.Terminal, session.Json, timestamps: false);
    }

    public async Task<int> RunAsync()
    {
        _session.Interrupts.Take(OnSignal);
        using var stopLogs = new CancellationTokenSource();
        var over = MachineWaits.UntilOverAsync(_session, _machine, CancellationToken.None);
        var logs = FollowAsync(over, stopLogs.Token);
        if (_input is not null)
            await _input.StartAsync(over);
        var detached = _input?.Detached ?? Never;

        var first = await Task.WhenAny(over, logs, detached);
        if (first == detached)
        {
            await _input!.DisposeAsync();
            _session.Terminal.Error.WriteLine($"ravel: {_machine.Name}: detached, it runs on; see: ravel attach {_machine.Name}");
            return 0;
        }
        if (first == logs)
            // Ended early only by failing: nobody reads our output, or the server has gone.
            await logs;
        var ended = await over;
        await DrainAsync(logs, stopLogs);
        // Before anything is said: the terminal is as it was.
        if (_input is not null)
            await _input.DisposeAsync();
        await _signals;
        // As with docker: once a run with --rm is over, its name is free again.
        if (_machine.Config.AutoDestroy)
            await MachineWaits.UntilDestroyedAsync(_session, _machine);
        return Conclude(ended);
    }

    private int Conclude(Machine ended)
    {
        if (_session.Json)
            JsonOutput.Line(_session.Terminal, new RanMachine(ended.Id.Value, ended.Name, ended.State, ended.Exit, ended.Problem));
        foreach (var line in _notes)
        {
            if (IsWorthShowing(line, ended))
                _printer.Print(line);
        }
        if (ended.Problem is { } problem)
        {
            var remedy = Problems.RemedyFor(problem.Code, problem.Message) ?? (_machine.Config.AutoDestroy ? null : $"see: ravel logs {ended.Name}");
            // A command that was not found or not executable has an exit code of its own, 127 or 126, as a shell gives it.
            throw new CliException(ended.Name, problem.Message.TrimEnd('.'), remedy, ended.Exit?.ExitCode ?? ExitCodes.CouldNotRun);
        }
        if (ended.Exit is not { } exit)
            throw new CliException(ended.Name, $"is {ended.State} and left no exit code", $"see: ravel events {ended.Name}", ExitCodes.CouldNotRun);
        if (exit.OomKilled)
            _session.Terminal.Error.WriteLine($"ravel: {ended.Name}: the guest ran out of memory; give it more with --memory");
        return exit.ExitCode;
    }

    /// <summary>Prints the log to its end, taking it up again where it broke off as long as the machine is not over.</summary>
    private async Task FollowAsync(Task over, CancellationToken cancellationToken)
    {
        while (true)
        {
            var wasOver = over.IsCompleted;
            DateTimeOffset? since = _lastTimestamp is { } text && DateTimeOffset.TryParse(text, out var moment) ? moment : null;
            var seen = _lastTimestamp;
            int? tail = _fromNow && seen is null ? 0 : null;
            await foreach (var line in _session.Api.LogsAsync(_machine, follow: true, tail, since, cancellationToken))
            {
                // Taken up again at the time of the last line: what is not newer has been printed.
                if (seen is not null && string.CompareOrdinal(line.Timestamp, seen) <= 0)
                    continue;
                if (line.Stream == "system" && !_session.Json)
                    Keep(line);
                else
                    _printer.Print(line);
                _lastTimestamp = line.Timestamp;
                Volatile.Write(ref _lastLineAt, _session.Time.GetTimestamp());
            }
            if (wasOver)
                return;
            await Task.WhenAny(over, Task.Delay(TimeSpan.FromMilliseconds(250), _session.Time, cancellationToken));
        }
    }

    /// <summary>
    /// The end says again what a note has said. What the guest's kernel and init said on their way down is noise while the reason
    /// is known (a command that cannot be run has an exit code), and can be read later with <c>ravel logs</c>, unless it goes with the machine.
    /// </summary>
    private bool IsWorthShowing(LogLine note, Machine ended) =>
        note.Message?.StartsWith("console:", StringComparison.Ordinal) == true
            ? ended is { Problem: not null, Exit: null } && _machine.Config.AutoDestroy
            : note.Message?.TrimEnd('\n') != ended.Problem?.Message;

    private void Keep(LogLine note)
    {
        _notes.Add(note);
        if (_notes.Count > MaxNotes)
            _notes.RemoveAt(0);
    }

    private async Task DrainAsync(Task logs, CancellationTokenSource stopLogs)
    {
        Volatile.Write(ref _lastLineAt, _session.Time.GetTimestamp());
        while (!logs.IsCompleted)
        {
            var left = Trailing - _session.Time.GetElapsedTime(Volatile.Read(ref _lastLineAt));
            if (left <= TimeSpan.Zero)
                stopLogs.Cancel();
            await Task.WhenAny(logs, Task.Delay(left > TimeSpan.Zero ? left : Trailing, _session.Time));
        }
        try
        {
            await logs;
        }
        catch (Exception e) when (e is OperationCanceledException or ProblemException)
        {
            // The end is known; a log that was taken away with its machine (--rm) cannot be read further.
        }
    }

    private void OnSignal(PosixSignal signal, int count)
    {
        lock (_gate)
            _signals = PassOnAsync(_signals, count);
    }

    private async Task PassOnAsync(Task before, int count)
    {
        await before;
        try
        {
            if (count == 1)
            {
                _session.Terminal.Error.WriteLine($"ravel: {_machine.Name}: stopping; once more to kill it");
                await _session.Api.StopMachineAsync(_machine, null, null, CancellationToken.None);
            }
            else
            {
                await _session.Api.SignalMachineAsync(_machine, "SIGKILL", CancellationToken.None);
            }
        }
        catch (CliException e)
        {
            _session.Terminal.Error.WriteLine(e.Line);
        }
    }
}
