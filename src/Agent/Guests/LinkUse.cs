using System.Collections.Concurrent;
using Ravel.Link;

namespace Ravel.Agent.Guests;

/// <summary>One open link with the exec sessions on it; they end with it.</summary>
internal sealed class LinkUse
{
    private readonly ConcurrentDictionary<uint, TaskCompletionSource<ExecEnd>> _execs = new();
    private uint _lastSession;
    private volatile bool _hasEnded;

    public LinkUse(HostLink link) => Link = link;

    public HostLink Link { get; }

    /// <summary>Whose turn it is to write to the workload's standard input.</summary>
    public SemaphoreSlim StdinTurn { get; } = new(1, 1);

    /// <summary>A new session and what it will end in; faulted with <see cref="LinkException"/> when the link ends first.</summary>
    public (uint Session, Task<ExecEnd> End) OpenExec()
    {
        var session = Interlocked.Increment(ref _lastSession);
        var end = new TaskCompletionSource<ExecEnd>(TaskCreationOptions.RunContinuationsAsynchronously);
        _execs[session] = end;
        if (_hasEnded)
            End();
        return (session, end.Task);
    }

    /// <summary>Unknown sessions are ignored: they were given up by their caller, or made up by the guest.</summary>
    public void CompleteExec(uint session, ExecEnd end)
    {
        if (_execs.TryRemove(session, out var waiting))
            waiting.TrySetResult(end);
    }

    public void ForgetExec(uint session) => _execs.TryRemove(session, out _);

    public void End()
    {
        _hasEnded = true;
        foreach (var session in _execs.Keys)
        {
            if (_execs.TryRemove(session, out var waiting))
                waiting.TrySetException(new LinkException("the link to the guest ended"));
        }
    }
}

/// <summary>How a command in a guest ended. <paramref name="Problem"/>: why it could not be started.</summary>
internal sealed record ExecEnd(int ExitCode, int Signal, string? Problem);
