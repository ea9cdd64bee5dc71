using Ravel.Contracts.Ids;

namespace Ravel.Agent.Capacity;

/// <summary>
/// Who holds what of the node. The agent alone decides whether something fits: what is held never exceeds the total by a
/// decision made here.
/// </summary>
internal sealed class CapacityLedger
{
    private readonly Lock _lock = new();
    private readonly Dictionary<MachineId, NodeShare> _held = [];
    private readonly Dictionary<string, CapacityReservation> _reservations = [];
    private readonly Dictionary<VolumeId, long> _volumes = [];

    private readonly NodeShare _total;
    private readonly Func<long>? _diskMib;

    /// <param name="total">What there is.</param>
    /// <param name="diskMib">The disk there is, asked at every decision, where it changes; null: as in <paramref name="total"/>.</param>
    public CapacityLedger(NodeShare total, Func<long>? diskMib = null)
    {
        _total = total;
        _diskMib = diskMib;
    }

    public NodeShare Total => _diskMib is null ? _total : _total with { DiskMib = _diskMib() };

    public NodeShare Allocated(DateTimeOffset now)
    {
        lock (_lock)
            return Sum(now, null, null);
    }

    /// <summary>Notes what a machine holds, whether it fits or not: it holds it already, or had the room before.</summary>
    public void Set(MachineId machine, NodeShare share)
    {
        lock (_lock)
            _held[machine] = share;
    }

    /// <summary>Notes a volume that is there.</summary>
    public void Set(VolumeId volume, long mib)
    {
        lock (_lock)
            _volumes[volume] = mib;
    }

    /// <summary>Gives a volume this room instead of what it has, if it fits.</summary>
    public bool TryHold(VolumeId volume, long mib, DateTimeOffset now, out string shortage)
    {
        var total = Total;
        lock (_lock)
        {
            var more = mib - _volumes.GetValueOrDefault(volume);
            shortage = more <= 0 ? "" : Shortage(new NodeShare(0, 0, more, 0), total - Sum(now, null, null));
            if (shortage.Length > 0)
                return false;
            _volumes[volume] = mib;
            return true;
        }
    }

    public void Remove(VolumeId volume)
    {
        lock (_lock)
            _volumes.Remove(volume);
    }

    public void Remove(MachineId machine)
    {
        lock (_lock)
            _held.Remove(machine);
    }

    /// <summary>Gives a machine this share instead of what it holds, if it fits. A smaller share always does.</summary>
    /// <param name="machine">Who.</param>
    /// <param name="share">What it shall hold.</param>
    /// <param name="reservation">Its room counts as free for this machine.</param>
    /// <param name="now">Expired reservations count as free.</param>
    /// <param name="shortage">What is missing, for people.</param>
    public bool TryHold(MachineId machine, NodeShare share, string? reservation, DateTimeOffset now, out string shortage)
    {
        var total = Total;
        lock (_lock)
        {
            shortage = "";
            var before = _held.GetValueOrDefault(machine);
            // Only what grows needs room: what a machine has it keeps, also where too much was promised.
            var grown = new NodeShare(
                share.Cpus > before.Cpus ? share.Cpus : 0,
                share.MemoryMib > before.MemoryMib ? share.MemoryMib : 0,
                share.DiskMib > before.DiskMib ? share.DiskMib : 0,
                share.Machines > before.Machines ? share.Machines : 0);
            if (grown != default)
                shortage = Shortage(grown, total - Sum(now, machine, reservation));
            if (shortage.Length > 0)
                return false;
            _held[machine] = share;
            return true;
        }
    }

    public bool TryReserve(CapacityReservation reservation, DateTimeOffset now, out string shortage)
    {
        var total = Total;
        lock (_lock)
        {
            // Asking again for the same machine replaces what was reserved for it; and what it has already it need not find again.
            var before = _held.GetValueOrDefault(reservation.Machine);
            var grown = reservation.Share with { DiskMib = reservation.Share.DiskMib > before.DiskMib ? reservation.Share.DiskMib : 0 };
            shortage = Shortage(grown, total - Sum(now, reservation.Machine, null));
            if (shortage.Length > 0)
                return false;
            _reservations.Add(reservation.Id, reservation);
            return true;
        }
    }

    /// <summary>For reservations found in the journal, which fitted when they were made.</summary>
    public void Restore(CapacityReservation reservation)
    {
        lock (_lock)
            _reservations[reservation.Id] = reservation;
    }

    public void Release(IEnumerable<string> reservations)
    {
        lock (_lock)
        {
            foreach (var id in reservations)
                _reservations.Remove(id);
        }
    }

    /// <summary>Ids of the reservations of one machine, or of those that have expired.</summary>
    public IReadOnlyList<string> Find(Func<CapacityReservation, bool> predicate)
    {
        lock (_lock)
            return [.. _reservations.Values.Where(predicate).Select(r => r.Id)];
    }

    private NodeShare Sum(DateTimeOffset now, MachineId? exceptMachine, string? exceptReservation)
    {
        var sum = new NodeShare(0, 0, _volumes.Values.Sum(), 0);
        foreach (var (machine, share) in _held)
        {
            if (machine != exceptMachine)
                sum += share;
        }
        foreach (var reservation in _reservations.Values)
        {
            if (reservation.ExpiresAt <= now || reservation.Id == exceptReservation || reservation.Machine == exceptMachine)
                continue;
            // It is for the machine as it will be, not beside what it has.
            var held = _held.GetValueOrDefault(reservation.Machine);
            sum += NodeShare.Max(reservation.Share, held) - held;
        }
        return sum;
    }

    private static string Shortage(NodeShare wanted, NodeShare room)
    {
        if (wanted.Cpus > room.Cpus)
            return $"{wanted.Cpus} CPUs are wanted, {Math.Max(0, room.Cpus)} are free";
        if (wanted.MemoryMib > room.MemoryMib)
            return $"{wanted.MemoryMib} MiB of memory are wanted, {Math.Max(0, room.MemoryMib)} are free";
        if (wanted.DiskMib > room.DiskMib)
            return $"{wanted.DiskMib} MiB of disk are wanted, {Math.Max(0, room.DiskMib)} are not promised to others";
        return wanted.Machines > room.Machines ? "every slot for a machine is taken" : "";
    }
}
