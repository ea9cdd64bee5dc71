using System.Runtime.InteropServices;
using Ravel.Linux.Cgroups;
using Ravel.Linux.Files;
using Ravel.Linux.Processes;

namespace Ravel.Vmm.Processes;

/// <summary>
/// Starts, finds and removes the processes of a driver: each in its own session and control group, with its output in a
/// bounded pipe in the VM's run directory, marked there before it exists.
/// </summary>
internal sealed class VmmProcessHost
{
    public const string OutputFile = "output";

    private const int PurgeAttempts = 5;

    private static readonly TimeSpan KillTimeout = TimeSpan.FromSeconds(30);

    private readonly string _driver;
    private readonly CgroupTree _cgroups;

    public VmmProcessHost(string driver, CgroupTree cgroups, TimeProvider time)
    {
        _driver = driver;
        _cgroups = cgroups;
        Time = time;
    }

    public TimeProvider Time { get; }

    public CgroupTree Cgroups => _cgroups;

    /// <summary>Marks the run directory and makes the group. What follows is undone by <see cref="PurgeAsync"/>.</summary>
    /// <exception cref="VmmException">The directory or the group cannot be made, or a VM of this id is there already.</exception>
    public Cgroup Prepare(VmSpec spec, VmmOverhead overhead)
    {
        try
        {
            if (LaunchMark.Read(spec.RunDirectory) is not null)
                throw new VmmException($"{_driver} VM {spec.Id} was launched already in {spec.RunDirectory}; purge it first");
            // Sockets and the console's tail are nobody else's to see.
            File.SetUnixFileMode(spec.RunDirectory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            var mark = new LaunchMark(_driver, spec.Id, spec.Cgroup)
            {
                CpuCeiling = spec.Cpus + overhead.Cpus,
                Disks = [.. spec.Drives.Select(drive => BackingDisk.Of(drive.Path)).OfType<string>()],
            };
            mark.Write(spec.RunDirectory);
            var limits = GroupLimits.Of(spec.Limits, mark) with { MemoryBytes = ((long)spec.MemoryMib + overhead.MemoryMib) << 20 };
            return _cgroups.Create(spec.Cgroup, limits);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new VmmException($"{_driver} VM {spec.Id} cannot be launched: {e.Message}", e);
        }
    }

    /// <summary>Starts the VMM's process.</summary>
    /// <exception cref="VmmException">It could not be started.</exception>
    public VmmProcess Start(
        VmSpec spec,
        Cgroup cgroup,
        string program,
        IReadOnlyList<string> arguments,
        IReadOnlyList<SafeHandle> inherited,
        string workingDirectory = "/",
        UnprivilegedUser? user = null,
        ProcessLimits? limits = null)
    {
        var path = Path.Combine(spec.RunDirectory, OutputFile);
        OutputPipe? output = null;
        try
        {
            output = OutputPipe.Create(path);
            var started = DetachedProcess.Start(new DetachedProcessSpec(program, arguments)
            {
                Cgroup = cgroup,
                Output = path,
                Inherited = inherited,
                WorkingDirectory = workingDirectory,
                User = user,
                Limits = limits,
            });
            return new VmmProcess(started.Hold, cgroup, output, started.Exited, Time);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            output?.Dispose();
            throw new VmmException($"{_driver} VM {spec.Id} cannot be launched: {e.Message}", e);
        }
    }

    /// <summary>Changes what the group of a VM that runs may take.</summary>
    /// <exception cref="VmmException">The host refuses.</exception>
    public static void Limit(VmmRecord record, VmmProcess process, VmLimits limits)
    {
        if (VmSpecRules.Violation(limits) is { } words)
            throw new VmmException($"{record.Driver} VM {record.Id} cannot be limited: {words}");
        try
        {
            if (LaunchMark.Read(record.RunDirectory) is { } mark)
                process.Cgroup.Limit(GroupLimits.Of(limits, mark));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"{record.Driver} VM {record.Id} cannot be limited: {e.Message}", e);
        }
    }

    /// <summary>Takes hold of a process launched earlier; null when that very process is gone.</summary>
    public VmmProcess? Find(VmmRecord record)
    {
        if (PidFd.TryOpen(new ProcessIdentity(record.Pid, record.StartTime)) is not { } hold)
            return null;
        return new VmmProcess(hold, _cgroups.Open(record.Cgroup), OutputPipe.Open(Path.Combine(record.RunDirectory, OutputFile)), null, Time);
    }

    /// <summary>Ends all processes a launch in this directory may have started and removes their group and the driver's files.</summary>
    /// <param name="files">Names in the run directory besides those of this class.</param>
    /// <param name="removeMore">What else to remove, once the processes are gone and before their mark is.</param>
    public async Task PurgeAsync(string runDirectory, IEnumerable<string> files, CancellationToken cancellationToken, Action? removeMore = null)
    {
        if (LaunchMark.Read(runDirectory) is { } mark)
            await PurgeGroupAsync(_cgroups.Open(mark.Cgroup), cancellationToken).ConfigureAwait(false);
        removeMore?.Invoke();
        if (!Directory.Exists(runDirectory))
            return;
        // The mark goes last: a purge that is cut short is done again from it.
        foreach (var file in files.Append(OutputFile).Append(LaunchMark.FileName + ".tmp").Append(LaunchMark.FileName))
            File.Delete(Path.Combine(runDirectory, file));
    }

    private async Task PurgeGroupAsync(Cgroup group, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            await group.KillAllAsync(Time, KillTimeout, cancellationToken).ConfigureAwait(false);
            try
            {
                await group.RemoveAsync(Time, cancellationToken).ConfigureAwait(false);
                return;
            }
            catch (IOException) when (attempt < PurgeAttempts)
            {
                // A process that was just being started by a launcher that died has joined in between.
            }
        }
    }
}
