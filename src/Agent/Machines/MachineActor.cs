using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging;
using Ravel.Agent.Guests;
using Ravel.Agent.Instances;
using Ravel.Agent.Journal;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Link;
using Ravel.Contracts.Node;
using MachineStatus = Ravel.Contracts.Node.MachineStatus;

namespace Ravel.Agent.Machines;

/// <summary>
/// One machine: takes events one at a time (in its mailbox), asks <see cref="InstanceStates"/> what follows, makes it durable, then does
/// it (<c>MachineActor.Effects.cs</c>). What the effects find out comes back as events.
/// </summary>
internal sealed partial class MachineActor : IGuestObserver, IAsyncDisposable
{
    private static readonly TimeSpan CommitRetry = TimeSpan.FromSeconds(1);

    private readonly NodeContext _node;
    private volatile MachineRecord? _record;
    private volatile bool _waitsForJournal;

    public MachineActor(MachineId id, MachineRecord? record, NodeContext node)
    {
        Id = id;
        _record = record;
        _node = node;
        _start = new StartWorkflow(node.Services, _resources, () => _record);
    }

    public MachineId Id { get; }

    /// <summary>The committed record; null before the machine is known and after it is forgotten.</summary>
    public MachineRecord? Record => _record;

    /// <summary>Something happened that could not be written down yet; everything else waits behind it.</summary>
    public bool WaitsForJournal => _waitsForJournal;

    /// <summary>Nothing of an instance is held or under way.</summary>
    public bool IsAtRest => _record?.State is null or InstanceState.Ended or InstanceState.Suspended;

    bool IGuestObserver.ExpectsRunningGuest => _record?.Instance?.StartedAt is not null;

    /// <summary>Hands an event in; returns when it is in the journal.</summary>
    public Task PostAsync(InstanceEvent happened) =>
        _node.Mailboxes.RunAsync(Id, _ => HandleAsync(happened, null), evenWhenFull: true);

    /// <summary>Takes one event. Only in the machine's mailbox.</summary>
    /// <returns>The machine's status after it.</returns>
    /// <exception cref="InstanceException">It is refused; nothing changed.</exception>
    public async Task<MachineStatus?> HandleAsync(InstanceEvent happened, PutContext? put)
    {
        var decision = InstanceStates.Decide(_record, happened, ContextOf(put));
        if (decision.Refusal is { } refusal)
            throw new InstanceException(refusal.Code, refusal.Message);
        if (!decision.IsChange)
        {
            // A clock that was set back makes a timer early.
            if (happened is InstanceEvent.Tick)
                SetTimer();
            return _record is null ? null : StatusOf.Machine(_record);
        }

        var now = _node.Services.Time.GetUtcNow();
        Hold(decision.Next, put, now);
        var status = decision.Next is { } next ? StatusOf.Machine(next) : StatusOf.Destroyed(decision.Forgotten!);
        var change = new JournalChange
        {
            Save = decision.Next,
            Forget = decision.Next is null ? status : null,
            Events = [.. decision.Reports.Select(type => new NodeEvent { At = Timestamp.FromDateTimeOffset(now), Type = type, Status = status })],
            Recall = put is { IsReturn: true } ? Id : null,
            RemoveReservations = put is null ? [] : _node.Ledger.Find(r => r.Machine == Id && r.Generation <= put.Generation),
        };
        try
        {
            await CommitAsync(change, isRetried: put is null);
        }
        catch
        {
            // Nothing happened: the room goes back to what is committed.
            Release(_record);
            throw;
        }
        _node.Ledger.Release(change.RemoveReservations);
        if (decision.Next is null)
            _node.Ledger.Remove(Id);
        var previous = _record;
        _record = decision.Next;
        DropMemory(previous?.Instance, decision.Next?.Instance);
        ReleaseHolds(previous?.Instance, decision.Next?.Instance);
        if (decision.Reports.Count > 0)
            _node.Outbox.Appended();
        SetTimer();
        await DoAsync(decision.Effects);
        if (decision.Next is not null)
            PokeLog();
        else
            _node.Forget(decision.Forgotten!, status);
        _node.Changed();
        return status;
    }

    async Task IGuestObserver.GuestStartedAsync()
    {
        _resources.Template = null;
        await PostAsync(new InstanceEvent.GuestStarted());
        if (_resources.Booting is not { } booted)
            return;
        _resources.Booting = null;
        _node.Services.WarmStarts.Missed(booted);
    }

    Task IGuestObserver.GuestFailedAsync(int exitCode, string message)
    {
        // It came up; what it was told to be is at fault.
        _resources.Template = null;
        return PostAsync(new InstanceEvent.GuestFailed(exitCode, message));
    }

    Task IGuestObserver.GuestExitedAsync(WorkloadExited exit) =>
        PostAsync(new InstanceEvent.GuestExited(exit.ExitCode, exit.Signal, exit.OomKilled));

    Task IGuestObserver.GuestBrokenAsync(string message) => PostAsync(new InstanceEvent.GuestBroken(message));

    Task IGuestObserver.VmmExitedAsync(string detail) => PostAsync(new InstanceEvent.VmmExited(detail));

    private DecisionContext ContextOf(PutContext? put)
    {
        var now = _node.Services.Time.GetUtcNow();
        return new DecisionContext(
            now,
            () => InstanceId.New(now),
            _node.Services.Options.Instances,
            StartWorkflow.Beginning,
            StartWorkflow.End)
        {
            AddressIndex = put?.AddressIndex ?? 0,
            NetworkIndex = put?.NetworkIndex ?? 0,
            IsNodeStopping = _node.IsGoingDown() || (_record is { MayMove: true } && !_node.IsAdmitted()),
        };
    }

    /// <summary>Only a command may be told that there is no room; what a machine does by itself it has the room for.</summary>
    private void Hold(MachineRecord? next, PutContext? put, DateTimeOffset now)
    {
        if (next is null)
            return;
        var share = next.Held(_node.Services.Options.BesidesDiskMib);
        if (put is null)
            _node.Ledger.Set(Id, share);
        else if (!_node.Ledger.TryHold(Id, share, put.Reservation, now, out var shortage))
            throw new InstanceException(ProblemCodes.InsufficientCapacity, $"Machine {Id} does not fit on this node: {shortage}.");
    }

    private void Release(MachineRecord? record)
    {
        if (record is null)
            _node.Ledger.Remove(Id);
        else
            _node.Ledger.Set(Id, record.Held(_node.Services.Options.BesidesDiskMib));
    }

    private async Task CommitAsync(JournalChange change, bool isRetried)
    {
        while (true)
        {
            try
            {
                await _node.Journal.CommitAsync(change);
                _waitsForJournal = false;
                return;
            }
            catch (JournalException e) when (isRetried)
            {
                _waitsForJournal = true;
                // What happened has happened: it waits until it can be written down (a disk that is full, mostly).
                _node.Services.Logger.LogError("Machine {Machine} waits for its journal: {Reason}", Id, e.Message);
                await Task.Delay(CommitRetry, _node.Services.Time, _node.Stopping);
            }
        }
    }

    private void PokeLog()
    {
        if (_record?.Instance is not null)
            _node.Services.Logs.Poke(Id);
    }
}

/// <summary>What comes with a command beside what it says of the machine.</summary>
internal sealed record PutContext(ulong Generation, string? Reservation, int AddressIndex, int NetworkIndex)
{
    /// <summary>The machine was here before, and elsewhere since.</summary>
    public bool IsReturn { get; init; }
}
