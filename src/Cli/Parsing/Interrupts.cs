using System.Runtime.InteropServices;
using Ravel.Cli.Errors;

namespace Ravel.Cli.Parsing;

/// <summary>
/// SIGINT and SIGTERM. By default the first cancels what the command does and the second ends the process at once; a
/// command that stands for a workload takes them over to pass them on.
/// </summary>
internal sealed class Interrupts : IDisposable
{
    private readonly List<PosixSignalRegistration> _registrations = [];
    private readonly CancellationTokenSource _cancelled = new();
    private readonly Lock _gate = new();
    private Action<PosixSignal, int>? _handler;
    private int _count;

    public Interrupts()
    {
        Watch(PosixSignal.SIGINT, ExitCodes.Interrupted);
        Watch(PosixSignal.SIGTERM, 128 + 15);
    }

    /// <summary>Cancelled by the first signal, unless it was taken over.</summary>
    public CancellationToken Cancelled => _cancelled.Token;

    /// <summary>128 + the number of the signal that came last.</summary>
    public int ExitCode { get; private set; } = ExitCodes.Interrupted;

    /// <summary>From now on <paramref name="handler"/> gets every signal, with the count of signals since, from 1; null gives them back.</summary>
    public void Take(Action<PosixSignal, int>? handler)
    {
        lock (_gate)
        {
            _handler = handler;
            _count = 0;
        }
    }

    public void Dispose()
    {
        foreach (var registration in _registrations)
            registration.Dispose();
        _cancelled.Dispose();
    }

    private void Watch(PosixSignal signal, int exitCode) =>
        _registrations.Add(PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            Action<PosixSignal, int>? handler;
            int count;
            lock (_gate)
            {
                ExitCode = exitCode;
                handler = _handler;
                count = ++_count;
            }
            if (handler is not null)
                handler(signal, count);
            else if (count == 1)
                _cancelled.Cancel();
            else
                Environment.Exit(exitCode);
        }));
}
