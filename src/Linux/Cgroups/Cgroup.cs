using System.Globalization;
using Ravel.Linux.Processes;

namespace Ravel.Linux.Cgroups;

/// <summary>Limits of a group; null leaves what there is, in a new group no limit.</summary>
/// <param name="MemoryBytes">Memory, page cache included, swap counted; beyond it the kernel's OOM killer ends a process of the group.</param>
/// <param name="Cpus">CPU time per wall time, e.g. 1.5; at least 0.01.</param>
/// <param name="CpuWeight">Share of CPU time when there is not enough, against other groups: 1–10000, 100 is usual.</param>
/// <param name="Reads">
/// What it may read from disks. Writes are not held back here: what waits in the cache for a disk that is held back can make a commit of the file
/// system's journal, and with it everybody on that file system, wait too.
/// </param>
public sealed record CgroupLimits(long? MemoryBytes = null, double? Cpus = null, int? CpuWeight = null, IReadOnlyList<DeviceReads>? Reads = null);

/// <summary>How much may be read from a disk each second. 0 = not limited.</summary>
/// <param name="Device">MAJOR:MINOR of a whole disk.</param>
public sealed record DeviceReads(string Device, long BytesPerSecond, long OperationsPerSecond);

/// <summary>What a group has used. Null where no controller counts it.</summary>
/// <param name="CpuTime">Of all its processes, ended ones included.</param>
/// <param name="MemoryBytes">At present, page cache included.</param>
/// <param name="ThrottledPeriods">Of 0.1 s each, in which the CPU ceiling made it wait.</param>
public sealed record CgroupUsage(TimeSpan? CpuTime, long? MemoryBytes, long? ThrottledPeriods = null);

/// <summary>One control group: the same relative directory in every hierarchy of its <see cref="CgroupTree"/>.</summary>
public sealed class Cgroup
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    private readonly (CgroupHierarchy Hierarchy, string Directory)[] _places;
    private readonly CgroupTree _tree;

    internal Cgroup(string name, (CgroupHierarchy Hierarchy, string Directory)[] places, CgroupTree tree)
    {
        Name = name;
        _places = places;
        _tree = tree;
    }

    /// <summary>Name below Ravel's own group.</summary>
    public string Name { get; }

    /// <summary>Its directory in each hierarchy.</summary>
    public IReadOnlyList<string> Directories => [.. _places.Select(place => place.Directory)];

    /// <summary>The files a process writes its pid to in order to join.</summary>
    public IReadOnlyList<string> MembershipFiles => [.. _places.Select(place => Path.Combine(place.Directory, "cgroup.procs"))];

    /// <summary>True while any part of the group exists.</summary>
    public bool Exists => _places.Any(place => Directory.Exists(place.Directory));

    /// <summary>Pids in the group and the groups below it, zombies not counted in v2.</summary>
    public IReadOnlyList<int> ListProcesses()
    {
        var pids = new SortedSet<int>();
        foreach (var (_, directory) in _places)
        {
            foreach (var group in WithChildren(directory))
            {
                foreach (var word in CgroupHierarchy.ReadWords(Path.Combine(group, "cgroup.procs")))
                {
                    // 0 is a process of another pid namespace that this one cannot name.
                    if (int.TryParse(word, CultureInfo.InvariantCulture, out var pid) && pid > 0)
                        pids.Add(pid);
                }
            }
        }
        return [.. pids];
    }

    /// <summary>Ends every process of the group with SIGKILL and waits until they are gone. Idempotent.</summary>
    /// <param name="time">Clock of the waits.</param>
    /// <param name="timeout">How long to wait for processes the kernel cannot end, e.g. in uninterruptible sleep.</param>
    /// <exception cref="TimeoutException">Some are still there.</exception>
    public async Task KillAllAsync(TimeProvider time, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var start = time.GetTimestamp();
        while (true)
        {
            var running = ListProcesses().Where(pid => ProcessIdentity.Read(pid) is not null).ToList();
            if (running.Count == 0)
                return;
            if (time.GetElapsedTime(start) > timeout)
                throw new TimeoutException($"control group {Name}: processes {string.Join(", ", running)} did not end within {timeout.TotalSeconds:0.#} s of SIGKILL");
            if (!KillAtOnce())
            {
                // Without cgroup.kill (Linux 5.14): again and again, as one may fork between the reading and the killing.
                foreach (var pid in running)
                    _ = ProcessCalls.kill(pid, ProcessCalls.Sigkill);
            }
            await Task.Delay(Pause, time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Removes the group, and those above it that are left empty. Its processes must be gone. Idempotent.</summary>
    /// <exception cref="IOException">It is still in use after a second; the message names the directory.</exception>
    public async Task RemoveAsync(TimeProvider time, CancellationToken cancellationToken)
    {
        const int Attempts = 100;
        foreach (var (_, directory) in _places)
        {
            foreach (var group in WithChildren(directory).Reverse())
            {
                for (var attempt = 1; Directory.Exists(group); attempt++)
                {
                    try
                    {
                        Directory.Delete(group);
                    }
                    catch (DirectoryNotFoundException)
                    {
                        break;
                    }
                    catch (IOException) when (attempt < Attempts)
                    {
                        // Busy for as long as a killed process's last thread takes to leave.
                        await Task.Delay(Pause, time, cancellationToken).ConfigureAwait(false);
                    }
                }
            }
        }
        _tree.RemoveEmptyParents(Name);
    }

    /// <summary>Changes the limits of a group that is there; one that is gone is fine.</summary>
    /// <exception cref="IOException">The host refuses; the message names the file.</exception>
    public void Limit(CgroupLimits limits)
    {
        foreach (var (hierarchy, _) in _places)
        {
            try
            {
                hierarchy.Limit(_tree.PathOf(Name), limits);
            }
            catch (DirectoryNotFoundException)
            {
                // Removed with its processes meanwhile.
            }
        }
    }

    public CgroupUsage ReadUsage()
    {
        TimeSpan? cpu = null;
        long? memory = null;
        long? throttled = null;
        foreach (var (hierarchy, directory) in _places)
        {
            throttled ??= ReadKey(directory, "cpu.stat", "nr_throttled");
            if (hierarchy.IsUnified)
            {
                if (ReadKey(directory, "cpu.stat", "usage_usec") is { } microseconds)
                    cpu ??= TimeSpan.FromMicroseconds(microseconds);
                memory ??= ReadNumber(directory, "memory.current");
            }
            else
            {
                if (ReadNumber(directory, "cpuacct.usage") is { } nanoseconds)
                    cpu ??= TimeSpan.FromTicks(nanoseconds / TimeSpan.NanosecondsPerTick);
                memory ??= ReadNumber(directory, "memory.usage_in_bytes");
            }
        }
        return new CgroupUsage(cpu, memory, throttled);
    }

    /// <summary>A value of a file of lines <c>KEY VALUE</c>.</summary>
    private static long? ReadKey(string directory, string file, string key)
    {
        var words = CgroupHierarchy.ReadWords(Path.Combine(directory, file));
        var index = Array.IndexOf(words, key);
        return index >= 0 && index + 1 < words.Length && long.TryParse(words[index + 1], CultureInfo.InvariantCulture, out var value) ? value : null;
    }

    private static long? ReadNumber(string directory, string file) =>
        CgroupHierarchy.ReadWords(Path.Combine(directory, file)) is [var word] && long.TryParse(word, CultureInfo.InvariantCulture, out var value) ? value : null;

    /// <summary>The directory and all below it, parents first; empty when it is not there.</summary>
    private static IEnumerable<string> WithChildren(string directory)
    {
        if (!Directory.Exists(directory))
            return [];
        try
        {
            return [directory, .. Directory.GetDirectories(directory, "*", SearchOption.AllDirectories).OrderBy(path => path.Length)];
        }
        catch (DirectoryNotFoundException)
        {
            return [directory];
        }
    }

    private bool KillAtOnce()
    {
        foreach (var (hierarchy, directory) in _places)
        {
            var file = Path.Combine(directory, "cgroup.kill");
            if (!hierarchy.IsUnified || !File.Exists(file))
                continue;
            try
            {
                File.WriteAllText(file, "1");
                return true;
            }
            catch (IOException)
            {
                return false;
            }
        }
        return false;
    }
}
