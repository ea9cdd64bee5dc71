using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.Agent;

namespace Ravel.Testing.ControlPlane;

/// <summary>
/// Kills a server at a point: before or after the n-th of its durable writes since it was armed. A dead server reads and writes nothing any
/// more. That a node was seen is noted by a timer and changes nothing that a restart would find half done: such writes are no points.
/// </summary>
internal sealed class ServerCrash
{
    private readonly TaskCompletionSource _killed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();
    private int _points;
    private int? _killAt;
    private volatile bool _isDead;

    public DatabaseFaults Faults => new(ThrowIfDead, Pass, Pass);

    public bool IsDead => _isDead;

    public Task Killed => _killed.Task;

    /// <summary>Points passed since it was armed.</summary>
    public int Points
    {
        get
        {
            lock (_lock)
                return _points;
        }
    }

    /// <summary>From now on points count.</summary>
    public void Arm(int killAt)
    {
        lock (_lock)
            (_points, _killAt) = (0, killAt);
    }

    /// <summary>From now on no point kills.</summary>
    public void Disarm()
    {
        lock (_lock)
            _killAt = null;
    }

    private void Pass(ServerDbContext context)
    {
        ThrowIfDead();
        var tracked = context.ChangeTracker.Entries().Select(e => e.Entity).ToList();
        if (tracked.Count > 0 && tracked.TrueForAll(e => e is NodeRow))
            return;
        lock (_lock)
        {
            if (_killAt is not { } killAt || ++_points < killAt)
                return;
            _isDead = true;
        }
        _killed.TrySetResult();
        ThrowIfDead();
    }

    private void ThrowIfDead()
    {
        if (_isDead)
            throw new SimulatedCrashException();
    }
}
