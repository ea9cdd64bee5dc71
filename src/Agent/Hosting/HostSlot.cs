using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Ravel.Linux.Files;
using Ravel.Linux.Processes;

namespace Ravel.Agent.Hosting;

/// <summary>
/// What tells several Ravels on one host apart, also when they live in different network namespaces: a number 0–63 bound to
/// a data directory. Names and addresses that are host-wide are derived from it.
/// <code>
/// BASE/lock        flock, held while a slot is claimed or released
/// BASE/N/slot      names the data directory slot N is bound to
/// DATA/raveld.lock flock, held while a raveld runs on DATA
/// DATA/slot.json   the number to ask for again, and the cluster's 24 random bits
/// </code>
/// The binding outlives the process, because its VMMs do: a raveld that was killed gets the same slot again. It ends with
/// <see cref="ReleaseAsync"/>, with the data directory, or with a reboot.
/// </summary>
public sealed class HostSlot : IDisposable
{
    public const int Count = 64;

    private readonly HostSlotOptions _options;
    private readonly FileLock? _dataLock;

    private HostSlot(HostSlotOptions options, FileLock? dataLock, int number, int cluster)
    {
        _options = options;
        _dataLock = dataLock;
        Number = number;
        Addresses = new SlotAddresses(number, cluster, (ushort)number);
    }

    /// <summary>0–63.</summary>
    public int Number { get; }

    /// <summary>For sockets and pid files of this slot; exists.</summary>
    public string RunDirectory => Path.Combine(_options.BaseDirectory, Text(Number));

    /// <summary>Control group of this slot's VMMs, below the root of the hierarchy.</summary>
    public string Cgroup => $"ravel/{Number}";

    /// <summary>All names of network interfaces of this slot begin so, and no others.</summary>
    public string TapPrefix => $"rv{Number}-";

    /// <summary>Name of this slot's nftables tables.</summary>
    public string NftTable => $"ravel_{Number}";

    public SlotAddresses Addresses { get; }

    /// <summary>The interface of a machine, at most 10 bytes (IFNAMSIZ leaves 15).</summary>
    public string TapName(int addressIndex) => TapPrefix + Text(addressIndex);

    /// <summary>Claims the slot of a data directory, the one it had before if that is possible.</summary>
    /// <exception cref="HostSlotException">Another raveld runs on the data directory, or no slot is free.</exception>
    public static async Task<HostSlot> ClaimAsync(
        HostSlotOptions options, TimeProvider time, CancellationToken cancellationToken = default)
    {
        try
        {
            Directory.CreateDirectory(options.DataDirectory);
            Directory.CreateDirectory(options.BaseDirectory);
            return await ClaimExistingAsync(options, CanonicalPath.Of(options.DataDirectory), time, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new HostSlotException($"no slot could be claimed for {options.DataDirectory}: {e.Message} (raveld runs as root, on a writable --data)");
        }
    }

    /// <summary>
    /// Gives the slot back. Only when nothing of it is left: no VMM, no tap, no table. The run directory is removed.
    /// </summary>
    public async Task ReleaseAsync(TimeProvider time, CancellationToken cancellationToken = default)
    {
        using (await LockBaseAsync(_options, time, cancellationToken))
        {
            File.Delete(SlotFile(_options, Number));
            Directory.Delete(RunDirectory, recursive: true);
            // The last one out leaves nothing. Removed while held: who waits for it sees that and takes the next one.
            var lockPath = Path.Combine(_options.BaseDirectory, "lock");
            if (Directory.EnumerateFileSystemEntries(_options.BaseDirectory).All(entry => entry == lockPath))
            {
                File.Delete(lockPath);
                try
                {
                    Directory.Delete(_options.BaseDirectory);
                }
                catch (IOException) when (Directory.Exists(_options.BaseDirectory))
                {
                    // Another raveld came in between, and has a lock of its own there.
                }
            }
        }
        Dispose();
    }

    /// <summary>
    /// Gives back the slots of others whose raveld is gone: killed before it had anything, or with its data directory. Nobody can
    /// claim one of them meanwhile.
    /// </summary>
    /// <param name="clearAsync">Removes what is left of a slot; false when something of it still runs, and it stays.</param>
    /// <exception cref="HostSlotException">Another raveld claims or releases for too long.</exception>
    public async Task SweepOthersAsync(TimeProvider time, Func<HostSlot, Task<bool>> clearAsync, CancellationToken cancellationToken = default)
    {
        using var held = await LockBaseAsync(_options, time, cancellationToken);
        for (var number = 0; number < Count; number++)
        {
            var directory = Path.Combine(_options.BaseDirectory, Text(number));
            if (number == Number || !Directory.Exists(directory))
                continue;
            FileLock? dataLock = null;
            if (OwnerOf(_options, number) is { } owner && Directory.Exists(owner))
            {
                var path = Path.Combine(owner, "raveld.lock");
                dataLock = FileLock.TryAcquireExisting(path);
                if (dataLock is null && File.Exists(path))
                    continue;
            }
            // What a slot is called on the host depends on its number alone; the addresses' cluster is of no use here.
            using var dead = new HostSlot(_options, dataLock, number, cluster: 1);
            if (await clearAsync(dead))
                Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>Stops holding the data directory; the slot stays bound to it.</summary>
    public void Dispose() => _dataLock?.Dispose();

    private static async Task<HostSlot> ClaimExistingAsync(
        HostSlotOptions options, string data, TimeProvider time, CancellationToken cancellationToken)
    {
        var dataLock = await LockDataAsync(options, data, time, cancellationToken);
        try
        {
            dataLock.Write(Encoding.UTF8.GetBytes(Text(Environment.ProcessId)));
            using (await LockBaseAsync(options, time, cancellationToken))
            {
                var record = ReadRecord(data);
                var number = Choose(options, data, record?.Slot);
                var claimed = new SlotRecord(number, record?.Cluster ?? RandomNumberGenerator.GetInt32(1, 1 << 24));

                // The data directory first: a slot that nobody remembers is found again by its slot file.
                if (claimed != record)
                    ReplaceFile(Path.Combine(data, "slot.json"), JsonSerializer.Serialize(claimed));
                Directory.CreateDirectory(Path.Combine(options.BaseDirectory, Text(number)));
                ReplaceFile(SlotFile(options, number), data + "\n");
                return new HostSlot(options, dataLock, number, claimed.Cluster);
            }
        }
        catch
        {
            dataLock.Dispose();
            throw;
        }
    }

    /// <summary>The slot bound to <paramref name="data"/>, else the preferred one if free, else the lowest free one.</summary>
    private static int Choose(HostSlotOptions options, string data, int? preferred)
    {
        var free = new List<int>();
        for (var number = 0; number < Count; number++)
        {
            var owner = OwnerOf(options, number);
            if (owner == data)
                return number;
            // A data directory that is gone can claim nothing: what is left of it now belongs to the next owner, whose
            // reconcilers remove it.
            if (owner is null || !Directory.Exists(owner))
                free.Add(number);
        }

        if (preferred is { } wish && free.Contains(wish))
            return wish;
        if (free.Count == 0)
        {
            throw new HostSlotException(
                $"no slot is free for {data}: {Count} data directories are in use on this host; run ravel down on one of them (they are named in {options.BaseDirectory}/*/slot)");
        }
        return free[0];
    }

    private static string? OwnerOf(HostSlotOptions options, int number)
    {
        try
        {
            return File.ReadAllText(SlotFile(options, number)).TrimEnd('\n');
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    private static async Task<FileLock> LockBaseAsync(HostSlotOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        var path = Path.Combine(options.BaseDirectory, "lock");
        var begin = time.GetTimestamp();
        while (true)
        {
            if (TryLock(path) is { } held)
                return held;
            if (time.GetElapsedTime(begin) > options.LockTimeout)
                throw new HostSlotException($"{path} stays locked by another raveld; see who holds it with: fuser -v {path}");
            await Task.Delay(TimeSpan.FromMilliseconds(20), time, cancellationToken);
        }
    }

    private static FileLock? TryLock(string path)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            var held = FileLock.TryAcquire(path);
            if (held is { IsRemoved: true })
            {
                held.Dispose();
                held = null;
            }
            return held;
        }
        catch (IOException) when (!Directory.Exists(Path.GetDirectoryName(path)))
        {
            return null; // the last one just left
        }
    }

    private static SlotRecord? ReadRecord(string data)
    {
        var path = Path.Combine(data, "slot.json");
        if (!File.Exists(path))
            return null;
        try
        {
            var record = JsonSerializer.Deserialize<SlotRecord>(File.ReadAllText(path));
            if (record is { Slot: >= 0 and < Count, Cluster: > 0 and < 1 << 24 })
                return record;
        }
        catch (JsonException)
        {
            // Reported below.
        }
        throw new HostSlotException($"{path} is damaged; remove it to have new addresses chosen");
    }

    private static void ReplaceFile(string path, string content)
    {
        var temporary = path + ".new";
        using (var file = new FileStream(temporary, FileMode.Create, FileAccess.Write))
        {
            file.Write(Encoding.UTF8.GetBytes(content));
            file.Flush(flushToDisk: true);
        }
        File.Move(temporary, path, overwrite: true);
    }

    /// <summary>
    /// A killed raveld is waited for: it lets go of its lock with the last of its threads, a moment after it looks dead.
    /// </summary>
    private static async Task<FileLock> LockDataAsync(HostSlotOptions options, string data, TimeProvider time, CancellationToken cancellationToken)
    {
        var path = Path.Combine(data, "raveld.lock");
        var begin = time.GetTimestamp();
        while (true)
        {
            if (FileLock.TryAcquire(path) is { } held)
                return held;
            var holder = HolderOf(path);
            if (holder is not { } pid || ProcessIdentity.Read(pid) is not null || time.GetElapsedTime(begin) > options.LockTimeout)
            {
                throw new HostSlotException(
                    $"another raveld{(holder is null ? "" : $" (pid {holder})")} is running on {data}; stop it (ravel down --data {data}), or choose another --data");
            }
            await Task.Delay(TimeSpan.FromMilliseconds(20), time, cancellationToken);
        }
    }

    private static int? HolderOf(string lockPath)
    {
        try
        {
            return int.TryParse(Encoding.UTF8.GetString(FileLock.Read(lockPath)), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) ? pid : null;
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static string SlotFile(HostSlotOptions options, int number) => Path.Combine(options.BaseDirectory, Text(number), "slot");

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private sealed record SlotRecord(int Slot, int Cluster);
}
