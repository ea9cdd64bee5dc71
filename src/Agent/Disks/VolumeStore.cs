using System.Collections.Concurrent;
using Ravel.Agent.Capacity;
using Ravel.Agent.Guests;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Linux.Files;

namespace Ravel.Agent.Disks;

/// <param name="Id">Which.</param>
/// <param name="Mib">Its size.</param>
/// <param name="UsedMib">What it takes of the host's disk.</param>
/// <param name="Holder">Whose instance holds it.</param>
internal sealed record VolumeState(VolumeId Id, long Mib, long UsedMib, MachineId? Holder);

/// <summary>
/// The volumes of a node: sparse ext4 images that outlive machines. The files say what there is: a volume is there, whole, when its file is,
/// and is as large as its file; so a crash at any point leaves a volume as it was or as it was to be. A file system smaller than its
/// file is grown by the guest that mounts it: no program of the host ever reads what a guest wrote. Each volume has its turns of its own: what
/// takes long with one keeps nobody from another.
/// </summary>
internal sealed class VolumeStore
{
    private const string Suffix = ".ext4";
    private const string TemporarySuffix = ".new";
    private const long Mebibyte = 1024 * 1024;

    private readonly string _directory;
    private readonly CapacityLedger _ledger;
    private readonly TimeProvider _time;
    private readonly KeyedTurns<VolumeId> _turns = new(Comparer<VolumeId>.Create((a, b) => string.CompareOrdinal(a.Value, b.Value)));
    private readonly ConcurrentDictionary<VolumeId, MachineId> _holders = new();

    /// <summary>Removes what a crash left half made, and takes the room of what is there.</summary>
    public VolumeStore(string directory, CapacityLedger ledger, TimeProvider time)
    {
        (_directory, _ledger, _time) = (directory, ledger, time);
        Directory.CreateDirectory(directory);
        foreach (var path in Directory.EnumerateFiles(directory, "*" + TemporarySuffix))
            File.Delete(path);
        foreach (var volume in Ids())
        {
            if (MibOf(volume) is { } mib)
                ledger.Set(volume, mib);
        }
    }

    public string PathOf(VolumeId volume) => Path.Combine(_directory, volume.Value + Suffix);

    /// <summary>Those that are there, each as it is at the moment it is looked at.</summary>
    public IReadOnlyList<VolumeState> List() => [.. Ids().Select(StateOf).OfType<VolumeState>()];

    /// <summary>Makes a volume, or grows it.</summary>
    /// <param name="volume">Which.</param>
    /// <param name="mib">Its size; not less than it has.</param>
    /// <param name="source">What it begins as; null for an empty file system. Whoever wants to have it waits until it is copied.</param>
    /// <exception cref="InstanceException">No room, no such source, one that cannot be copied now, or a smaller size.</exception>
    /// <exception cref="IOException">The disk is full, or another error of the file system.</exception>
    public async Task<VolumeState> PutAsync(VolumeId volume, long mib, VolumeId? source)
    {
        using var turn = await _turns.EnterAsync(source is { } copied ? [volume, copied] : [volume], CancellationToken.None);
        var before = MibOf(volume) ?? 0;
        if (before < mib)
            await MakeLargerAsync(volume, before, mib, source);
        else if (before > mib)
            throw new InstanceException(ProblemCodes.InvalidRequest, $"Volume {volume} has {before} MiB and cannot shrink to {mib}.");
        return StateOf(volume) ?? throw new IOException($"{PathOf(volume)} was removed by somebody else");
    }

    /// <exception cref="InstanceException"><c>volume-in-use</c>.</exception>
    public async Task RemoveAsync(VolumeId volume)
    {
        using var turn = await _turns.EnterAsync([volume], CancellationToken.None);
        if (_holders.TryGetValue(volume, out var holder))
            throw InUse(volume, holder, "stop the machine first");
        DurableFiles.Delete(PathOf(volume));
        _ledger.Remove(volume);
    }

    /// <summary>Gives volumes to a machine until it lets go of them; again to the same one is no error.</summary>
    /// <exception cref="InstanceException">One is not here, or another machine holds it; none is given then.</exception>
    public async Task HoldAsync(MachineId machine, IReadOnlyList<VolumeId> volumes, CancellationToken cancellationToken)
    {
        // In turn: a volume must not go away between the look and the hold, nor be written to while it is copied.
        using var turn = await _turns.EnterAsync(volumes, cancellationToken);
        try
        {
            foreach (var volume in volumes)
            {
                if (!File.Exists(PathOf(volume)))
                    throw new InstanceException(ProblemCodes.VolumeNotFound, $"Volume {volume} is not on this node.");
                var holder = _holders.GetOrAdd(volume, machine);
                if (holder != machine)
                    throw InUse(volume, holder, "one machine at a time can have it");
            }
        }
        catch
        {
            Release(machine);
            throw;
        }
    }

    public void Release(MachineId machine)
    {
        foreach (var held in _holders)
        {
            if (held.Value == machine)
                _holders.TryRemove(held);
        }
    }

    private async Task MakeLargerAsync(VolumeId volume, long before, long mib, VolumeId? source)
    {
        if (!_ledger.TryHold(volume, mib, _time.GetUtcNow(), out var shortage))
            throw new InstanceException(ProblemCodes.InsufficientCapacity, $"Volume {volume} does not fit on this node: {shortage}.");
        try
        {
            if (before > 0)
                DurableFiles.SetLength(PathOf(volume), mib * Mebibyte);
            else
                await MakeAsync(volume, mib, source);
        }
        catch
        {
            if (before > 0)
                _ledger.Set(volume, before);
            else
                _ledger.Remove(volume);
            throw;
        }
    }

    private async Task MakeAsync(VolumeId volume, long mib, VolumeId? source)
    {
        var temporary = PathOf(volume) + TemporarySuffix;
        try
        {
            if (source is null)
                await Ext4Image.FormatAsync(temporary, mib);
            else
                await Task.Run(() => Copy(source.Value, temporary, mib));
            DurableFiles.Publish(temporary, PathOf(volume));
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    private void Copy(VolumeId source, string temporary, long mib)
    {
        var from = PathOf(source);
        if (MibOf(source) is not { } least)
            throw new InstanceException(ProblemCodes.VolumeNotFound, $"Volume {source} is not on this node.");
        if (least > mib)
            throw new InstanceException(ProblemCodes.InvalidRequest, $"A copy of volume {source} has at least its {least} MiB.");
        if (!SparseFile.TryClone(from, temporary))
        {
            // Block by block it would be of no moment in particular.
            if (_holders.TryGetValue(source, out var holder))
                throw InUse(source, holder, "stop it first: the node's file system cannot copy what is being written");
            SparseFile.Copy(from, temporary);
        }
        DurableFiles.SetLength(temporary, mib * Mebibyte);
    }

    private IEnumerable<VolumeId> Ids()
    {
        foreach (var path in Directory.EnumerateFiles(_directory, "*" + Suffix).Order(StringComparer.Ordinal))
        {
            if (VolumeId.TryParse(Path.GetFileNameWithoutExtension(path), out var volume))
                yield return volume;
        }
    }

    /// <summary>Null when it is not there, or goes just now.</summary>
    private VolumeState? StateOf(VolumeId volume) => FileBlocks.UsageOf(PathOf(volume)) is { } usage
        ? new VolumeState(
            volume,
            usage.Length / Mebibyte,
            usage.Allocated / Mebibyte,
            _holders.TryGetValue(volume, out var holder) ? holder : null)
        : null;

    private long? MibOf(VolumeId volume) => FileBlocks.UsageOf(PathOf(volume))?.Length / Mebibyte;

    private static InstanceException InUse(VolumeId volume, MachineId holder, string remedy) =>
        new(ProblemCodes.VolumeInUse, $"Volume {volume} is in use by machine {holder}; {remedy}.");
}
