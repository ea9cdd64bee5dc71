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
    private static readonly TimeSpan _trailing = TimeSpan.FromSeconds(3);

    private const int MaxConsoleLines = 20;

    private readonly Session _session;
    private readonly Machine _machine;
    private readonly LogPrinter _printer;
    private readonly List<LogLine> _console = [];
    private readonly Lock _gate = new();
    private string? _lastTimestamp;
    private long _lastLineAt;
    private Task _signals = Task.CompletedTask;

    public AttachedRun(Session session, Machine machine)
    {
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

        if (await Task.WhenAny(over, logs) == logs)
            // Ended early only by failing: nobody reads our output, or the server has gone.
            await logs;
        var ended = await over;
        await DrainAsync(logs, stopLogs);
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
        if (ended.Problem is { } problem)
        {
            // The console can be read later with `ravel logs`, unless it goes with the machine.
            if (_machine.Config.AutoDestroy)
                _console.ForEach(_printer.Print);
            var remedy = Problems.RemedyFor(problem.Code) ?? (_machine.Config.AutoDestroy ? null : $"see: ravel logs {ended.Name}");
            throw new CliException(ended.Name, problem.Message.TrimEnd('.'), remedy, ExitCodes.CouldNotRun);
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
            await foreach (var line in _session.Api.LogsAsync(_machine, follow: true, tail: null, since, cancellationToken))
            {
                // Taken up again at the time of the last line: what is not newer has been printed.
                if (seen is not null && string.CompareOrdinal(line.Timestamp, seen) <= 0)
                    continue;
                if (IsConsole(line))
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

    /// <summary>What the guest's kernel and init say on the way down: noise, as long as the reason is known.</summary>
    private bool IsConsole(LogLine line) =>
        !_session.Json && line.Stream == "system" && line.Message?.StartsWith("console:", StringComparison.Ordinal) == true;

    private void Keep(LogLine line)
    {
        _console.Add(line);
        if (_console.Count > MaxConsoleLines)
            _console.RemoveAt(0);
    }

    private async Task DrainAsync(Task logs, CancellationTokenSource stopLogs)
    {
        Volatile.Write(ref _lastLineAt, _session.Time.GetTimestamp());
        while (!logs.IsCompleted)
        {
            var left = _trailing - _session.Time.GetElapsedTime(Volatile.Read(ref _lastLineAt));
            if (left <= TimeSpan.Zero)
                stopLogs.Cancel();
            await Task.WhenAny(logs, Task.Delay(left > TimeSpan.Zero ? left : _trailing, _session.Time));
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
