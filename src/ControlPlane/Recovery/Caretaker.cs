using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane.Storage;
using Ravel.Durable;
using Ravel.Durable.Reconcilers;

namespace Ravel.ControlPlane.Recovery;

/// <summary>What one server does for all of them, again and again. A pass takes no payload and may be cut off anywhere.</summary>
internal interface IDuty
{
    string Name { get; }

    Task PassAsync(CancellationToken cancellationToken);
}

/// <summary>
/// Does the duties while this server has the lease for them; when it dies another has it within ten seconds. Every server watches the
/// nodes meanwhile, so that whoever takes over knows for how long each has been silent.
/// </summary>
internal sealed class Caretaker : BackgroundService
{
    public const string LeaseName = "caretaker";

    private static readonly TimeSpan GiveBackTimeout = TimeSpan.FromSeconds(1);

    private readonly RecoveryOptions _options;
    private readonly NodeLoss _nodes;
    private readonly TimeProvider _time;
    private readonly ILogger<Caretaker> _log;
    private readonly DatabaseLease _lease;
    private readonly List<ReconcilerLoop> _loops = [];

    public Caretaker(
        Database database, ControlPlaneOptions options, NodeLoss nodes, IEnumerable<IDuty> duties, TimeProvider time, ILogger<Caretaker> log)
    {
        (_options, _nodes, _time, _log) = (options.Recovery, nodes, time, log);
        _lease = new DatabaseLease(database, LeaseName, _options, time);
        foreach (var duty in duties)
        {
            _loops.Add(new ReconcilerLoop(
                duty.PassAsync,
                _options.Interval,
                new BackoffPolicy(TimeSpan.FromMilliseconds(250), 2, TimeSpan.FromSeconds(5)),
                time,
                e => log.LogWarning(e, "A pass over {Duty} failed; it is repeated", duty.Name)));
        }
    }

    /// <summary>Whether the duties are this server's at present.</summary>
    public bool IsOnDuty => _lease.Left > TimeSpan.Zero;

    /// <summary>Something changed that the duties should not wait for.</summary>
    public void Signal()
    {
        foreach (var loop in _loops)
            loop.Signal();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var work = Task.CompletedTask;
        CancellationTokenSource? ending = null;
        while (!stoppingToken.IsCancellationRequested)
        {
            await LookAsync(stoppingToken);
            var left = _lease.Left;
            if (left == TimeSpan.Zero || ending is { IsCancellationRequested: true })
            {
                if (ending is not null)
                {
                    await ending.CancelAsync();
                    await work;
                    ending.Dispose();
                    ending = null;
                    _log.LogInformation("Another server does now what one does for all");
                }
            }
            if (left > TimeSpan.Zero && ending is null)
            {
                ending = new CancellationTokenSource(Timeout.InfiniteTimeSpan, _time);
                work = WorkAsync(ending.Token);
            }
            // Not renewed in time: the work ends by itself.
            if (ending is not null && left != TimeSpan.MaxValue)
                ending.CancelAfter(left);
            await Task.Delay(_options.LeaseRenewal, _time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        if (ending is not null)
            await ending.CancelAsync();
        await work;
        ending?.Dispose();
        await GiveBackAsync();
    }

    private async Task LookAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _lease.RenewAsync(cancellationToken);
            await _nodes.ObserveAsync(cancellationToken);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            _log.LogDebug(e, "The lease could not be looked at");
        }
        catch (OperationCanceledException)
        {
            // Going down.
        }
    }

    private Task WorkAsync(CancellationToken cancellationToken) => Task.WhenAll(_loops.Select(loop => Task.Run(() => loop.RunAsync(cancellationToken), CancellationToken.None)));

    private async Task GiveBackAsync()
    {
        using var limit = new CancellationTokenSource(GiveBackTimeout, _time);
        try
        {
            await _lease.ReleaseAsync(limit.Token);
        }
        catch (Exception e)
        {
            _log.LogDebug(e, "The lease could not be given back; it runs out");
        }
    }

    public override void Dispose()
    {
        foreach (var loop in _loops)
            loop.Dispose();
        base.Dispose();
    }
}
