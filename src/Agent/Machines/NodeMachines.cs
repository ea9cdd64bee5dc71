using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Ravel.Agent.Capacity;
using Ravel.Agent.Guests;
using Ravel.Agent.Instances;
using Ravel.Agent.Journal;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable.Mailboxes;
using Ravel.Durable.Outboxes;
using MachineStatus = Ravel.Contracts.Node.MachineStatus;

namespace Ravel.Agent.Machines;

/// <summary>The machines of a node.</summary>
internal sealed class NodeMachines : IAsyncDisposable
{
    private const int MailboxCapacity = 256;

    private readonly InstanceServices _services;
    private readonly AgentJournal _journal;
    private readonly NodeContext _context;
    private readonly KeyedMailboxes<MachineId> _mailboxes;
    private readonly CancellationTokenSource _stopping = new();
    private readonly ConcurrentDictionary<MachineId, MachineActor> _actors = new();
    private readonly ConcurrentDictionary<MachineId, MachineStatus> _forgotten;
    private readonly AddressIndices _addresses;
    private readonly Lock _lock = new();
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _isGoingDown;
    private volatile bool _isAdmitted;

    public NodeMachines(InstanceServices services, AgentJournal journal, CapacityLedger ledger)
    {
        _services = services;
        _journal = journal;
        _isAdmitted = !services.Options.WaitsForAdmission;
        Ledger = ledger;
        Outbox = new Outbox<NodeEvent>(journal);
        _addresses = new AddressIndices(services.Options.MaxAddressIndex, journal.Contents.Machines.Select(m => m.AddressIndex));
        _forgotten = new ConcurrentDictionary<MachineId, MachineStatus>(journal.Contents.Forgotten);
        _mailboxes = new KeyedMailboxes<MachineId>(MailboxCapacity, TickAsync, (machine, e) =>
            services.Logger.LogError(e, "Machine {Machine} failed to take the time", machine));
        _context = new NodeContext
        {
            Services = services,
            Journal = journal,
            Outbox = Outbox,
            Ledger = ledger,
            Mailboxes = _mailboxes,
            Stopping = _stopping.Token,
            IsGoingDown = () => _isGoingDown,
            IsAdmitted = () => _isAdmitted,
            Changed = Changed,
            Forget = Forget,
        };
        foreach (var record in journal.Contents.Machines)
        {
            _actors.TryAdd(record.Id, new MachineActor(record.Id, record, _context));
            ledger.Set(record.Id, record.Held(services.Options.BesidesDiskMib));
        }
        foreach (var reservation in journal.Contents.Reservations)
            ledger.Restore(reservation);
    }

    public CapacityLedger Ledger { get; }

    public Outbox<NodeEvent> Outbox { get; }

    public IEnumerable<MachineRecord> Records => _actors.Values.Select(actor => actor.Record).OfType<MachineRecord>();

    public MachineActor? Find(MachineId machine) => _actors.TryGetValue(machine, out var actor) && actor.Record is not null ? actor : null;

    /// <summary>Of a machine that is here, or was.</summary>
    public MachineStatus? StatusOf(MachineId machine) =>
        Find(machine)?.Record is { } record ? Instances.StatusOf.Machine(record) : _forgotten.GetValueOrDefault(machine);

    /// <summary>Completes at the next change of any machine; ask first, look then, wait last.</summary>
    public Task WaitForChangeAsync()
    {
        lock (_lock)
            return _changed.Task;
    }

    /// <summary>Takes over what the journal says is running; returns when it has been looked for.</summary>
    public async Task ResumeAsync(bool isRebooted)
    {
        await Task.WhenAll(_actors.Values.Select(actor => _mailboxes.RunAsync(
            actor.Id,
            async _ =>
            {
                var found = actor.Record;
                if (isRebooted)
                    await actor.HandleAsync(new InstanceEvent.HostRebooted(), null);
                else if (IsHeld(actor))
                    await actor.HandleAsync(new InstanceEvent.Held(), null);
                // An event that changed something has set the right things going already.
                if (actor.Record == found)
                    await actor.ResumeAsync();
            })));
        // Each in its turn: one that has something to write down waits for a disk that is full, and the others do not wait for it.
        foreach (var actor in _actors.Values.Where(actor => !IsHeld(actor)))
            _ = TellStartedAsync(actor);
    }

    /// <summary>What is here is here alone: what was held back begins.</summary>
    public void Admit()
    {
        if (_isAdmitted)
            return;
        var held = _actors.Values.Where(IsHeld).ToList();
        _isAdmitted = true;
        foreach (var actor in held)
            _ = TellStartedAsync(actor);
    }

    private bool IsHeld(MachineActor actor) => !_isAdmitted && actor.Record is { MayMove: true };

    private async Task TellStartedAsync(MachineActor actor)
    {
        try
        {
            await actor.PostAsync(new InstanceEvent.NodeStarted());
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException && _stopping.IsCancellationRequested)
        {
            // The next agent says it again.
        }
        catch (Exception e)
        {
            _services.Logger.LogError(e, "Machine {Machine} could not be told that its node is up", actor.Id);
        }
    }

    /// <summary>Accepts what a machine shall be; durable when it returns.</summary>
    /// <exception cref="InstanceException">It cannot be: no room, or the machine is being destroyed.</exception>
    /// <exception cref="MailboxFullException">Too many commands for this machine.</exception>
    public Task<MachineStatus> PutAsync(InstanceEvent.Put put, string? reservation)
    {
        if (_isGoingDown)
            throw new InstanceException(ProblemCodes.NodeUnavailable, "The node is going down; try again when it is up.");
        if (Find(put.Machine) is { WaitsForJournal: true })
            throw new InstanceException(ProblemCodes.DiskFull, $"What happened to machine {put.Machine} can't be written down: free some space on the node's disk.");
        return _mailboxes.RunAsync(put.Machine, _ => PutInTurnAsync(put, reservation));
    }

    /// <summary>Holds room for a machine until <paramref name="ttl"/> has passed, in place of what was held for it before.</summary>
    /// <exception cref="InstanceException">There is no room.</exception>
    public async Task<CapacityReservation> ReserveAsync(MachineId machine, ulong generation, NodeShare share, TimeSpan ttl)
    {
        var now = _services.Time.GetUtcNow();
        var reservation = new CapacityReservation(InstanceId.New(now).ToString(), machine, generation, share, now + ttl);
        var replaced = Ledger.Find(r => r.Machine == machine || r.ExpiresAt <= now);
        if (!Ledger.TryReserve(reservation, now, out var shortage))
            throw new InstanceException(ProblemCodes.InsufficientCapacity, $"Machine {machine} does not fit on this node: {shortage}.");
        try
        {
            await _journal.CommitAsync(new JournalChange { AddReservation = reservation, RemoveReservations = replaced });
        }
        catch
        {
            Ledger.Release([reservation.Id]);
            throw;
        }
        Ledger.Release(replaced);
        return reservation;
    }

    /// <summary>Gives back what was held for a machine that is not coming.</summary>
    public async Task ReleaseAsync(MachineId machine)
    {
        var held = Ledger.Find(r => r.Machine == machine);
        if (held.Count == 0)
            return;
        await _journal.CommitAsync(new JournalChange { RemoveReservations = held });
        Ledger.Release(held);
    }

    /// <summary>Ends every instance without changing what is desired.</summary>
    /// <param name="limit">Longest time a workload gets to end.</param>
    /// <param name="cancellationToken">Stops waiting; the instances end all the same.</param>
    /// <returns>How many were running.</returns>
    public async Task<int> StopAllAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        _isGoingDown = true;
        var stopped = _actors.Values.Count(actor => !actor.IsAtRest);
        while (true)
        {
            var changed = WaitForChangeAsync();
            // Said again to those that came to wait for a restart meanwhile.
            await Task.WhenAll(_actors.Values.Where(actor => !actor.IsAtRest).Select(actor => actor.PostAsync(new InstanceEvent.NodeStopping(limit))));
            if (_actors.Values.All(actor => actor.IsAtRest))
                return stopped;
            await changed.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Stops working; instances run on.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _mailboxes.DisposeAsync();
        await Task.WhenAll(_actors.Values.Select(actor => actor.DisposeAsync().AsTask()));
        _stopping.Dispose();
    }

    private async Task<MachineStatus> PutInTurnAsync(InstanceEvent.Put put, string? reservation)
    {
        var isReturn = false;
        if (_forgotten.TryGetValue(put.Machine, out var gone))
        {
            if (put.Generation <= gone.Generation)
                return gone;
            if (put.Desired == DesiredState.Destroyed)
                return await ForgetAgainAsync(gone, put);
            if (!gone.Moved)
                throw new InstanceException(ProblemCodes.IllegalState, $"Machine {put.Machine} was destroyed; create another one.");
            isReturn = true;
        }
        var isNew = !_actors.TryGetValue(put.Machine, out var actor);
        actor ??= new MachineActor(put.Machine, null, _context);
        var address = isNew && put.Desired != DesiredState.Destroyed ? _addresses.Take() : 0;
        try
        {
            var network = isNew && put.Desired != DesiredState.Destroyed ? await _journal.NetworkIndexAsync(put.Spec.Namespace) : 0;
            if (isNew)
                _actors[put.Machine] = actor;
            var status = (await actor.HandleAsync(put, new PutContext(put.Generation, reservation, address, network) { IsReturn = isReturn }))!;
            if (isReturn)
                _forgotten.TryRemove(put.Machine, out _);
            return status;
        }
        catch
        {
            if (isNew && actor.Record is null)
            {
                _actors.TryRemove(put.Machine, out _);
                _addresses.Give(address);
            }
            throw;
        }
    }

    /// <summary>A command between the end that is remembered and this one, should it come late, must find the machine gone.</summary>
    private async Task<MachineStatus> ForgetAgainAsync(MachineStatus gone, InstanceEvent.Put put)
    {
        var status = gone.Clone();
        status.Generation = status.ObservedGeneration = put.Generation;
        status.Moved = gone.Moved && put.IsMoved;
        await _journal.CommitAsync(new JournalChange { Forget = status });
        return _forgotten[put.Machine] = status;
    }

    private Task TickAsync(MachineId machine, CancellationToken cancellationToken) =>
        _actors.TryGetValue(machine, out var actor) ? actor.HandleAsync(new InstanceEvent.Tick(), null) : Task.CompletedTask;

    private void Forget(MachineRecord last, MachineStatus status)
    {
        _forgotten[last.Id] = status;
        _addresses.Give(last.AddressIndex);
        _actors.TryRemove(last.Id, out _);
    }

    private void Changed()
    {
        TaskCompletionSource changed;
        lock (_lock)
            (changed, _changed) = (_changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        changed.SetResult();
    }
}
