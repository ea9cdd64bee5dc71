using System.Runtime.InteropServices;
using Ravel.Linux.Cgroups;
using Ravel.Linux.Processes;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Qemu;

/// <summary>
/// QEMU's microvm machine: the default where Firecracker or hardware virtualisation is missing. Everything it needs to be found
/// again is its process identity and the monitor's socket in the run directory.
/// <code>
/// launch.json → cgroup → sockets → process (-S) → monitor greets → cont → running
///                                                              shutdown | reset | panic → paused → asked → quit
/// </code>
/// </summary>
public sealed partial class QemuDriver : IVmmDriver, IVmTemplates
{
    public const string DriverName = "qemu";

    internal const string MonitorSocket = "qmp.sock";
    internal const string LinkSocket = "link.sock";
    internal const string ConsoleFile = "console";
    internal const string MigrationSocket = "migration.sock";
    internal const string SnapshotFile = "qemu.migration";

    private static readonly string[] Files =
    [
        MonitorSocket, MonitorSocket + ".new", LinkSocket, LinkSocket + ".new", MigrationSocket, MigrationSocket + ".new",
        ConsoleFile, ConsoleFile + ".tmp",
    ];

    /// <summary>QEMU's last words over a stream it cannot read (migration/migration.c); it ends with them.</summary>
    private const string MemoryRefused = "load of migration failed";

    private const string Setpriv = "setpriv";

    /// <summary>Its files, and an event or two for each of the guest's devices and processors.</summary>
    private const int MaxOpenFiles = 1024;

    /// <summary>Processors, and workers for disks, of which QEMU starts up to 64.</summary>
    private const int MaxThreads = 256;

    private static readonly TimeSpan RestorePoll = TimeSpan.FromMilliseconds(2);

    private readonly VmmOptions _options;
    private readonly VmmProcessHost _processes;
    private readonly QemuTemplateMemory _templateMemory = new();
    private string? _version;

    public QemuDriver(VmmOptions options, TimeProvider? time = null)
    {
        _options = options;
        _processes = new VmmProcessHost(DriverName, CgroupTree.Detect(options.CgroupRoot), time ?? TimeProvider.System);
    }

    public string Name => DriverName;

    public async Task<VmmProbe> ProbeAsync(CancellationToken cancellationToken)
    {
        var problems = new List<VmmProblem>();
        var host = QemuHost.Detect(_options.Accelerator);
        var version = "";
        if (Executable.Find(_options.Qemu) is null)
        {
            problems.Add(new VmmProblem("qemu", $"{_options.Qemu} is not installed", "install the package qemu-system-x86"));
        }
        else
        {
            try
            {
                version = await GetVersionAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (VmmException e)
            {
                problems.Add(new VmmProblem("qemu", e.Message, "reinstall the package qemu-system-x86"));
            }
        }
        if (Executable.Find(Setpriv) is null)
            problems.Add(new VmmProblem("qemu", $"{Setpriv} is not installed, with which QEMU gives up root", "install the package util-linux"));
        if (host is { Accelerator: "kvm", CanOthersOpenKvm: false })
        {
            problems.Add(new VmmProblem(
                "kvm", "/dev/kvm is root's alone, and QEMU does not run as root", "give it a group that may read and write it: chgrp kvm /dev/kvm; chmod 660 /dev/kvm"));
        }
        var isAvailable = problems.Count == 0;
        foreach (var words in _processes.Cgroups.Probe())
        {
            problems.Add(new VmmProblem("cgroups", words, "run as root on a host whose control groups are mounted writable"));
            isAvailable &= words.Contains("limits", StringComparison.Ordinal);
        }
        if (host.Accelerator == "tcg")
        {
            problems.Add(new VmmProblem(
                "kvm",
                "neither kvm_intel nor kvm_amd is loaded with /dev/kvm usable: guests are emulated, several times slower",
                "enable virtualisation in the firmware, or nested virtualisation in the hypervisor, and load the module"));
        }
        return new VmmProbe(isAvailable, version, host.Accelerator, problems);
    }

    public async Task<IVmm> LaunchAsync(VmSpec spec, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        VmSpecRules.Check(spec, DriverName);
        if (spec.Drives.Count + spec.Networks.Count + 2 > QemuCommandLine.MaxDevices)
            throw new VmmException($"qemu VM '{spec.Id}' cannot be launched: more than {QemuCommandLine.MaxDevices - 2} drives and networks");
        var program = Executable.Find(_options.Qemu) ?? throw new VmmException($"{_options.Qemu} is not installed: install the package qemu-system-x86");
        if (spec.Restore is not null)
            VmSpecRules.CheckSnapshot(spec.Restore, DriverName, await GetVersionAsync(cancellationToken).ConfigureAwait(false));

        var host = QemuHost.Detect(_options.Accelerator);
        var cgroup = _processes.Prepare(spec, QemuCommandLine.Overhead(host));
        try
        {
            return await StartAsync(spec, program, host, cgroup, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await PurgeAsync(spec.Id, spec.RunDirectory, CancellationToken.None).ConfigureAwait(false);
            throw;
        }
    }

    public async Task<IVmm?> RecoverAsync(VmmRecord record, CancellationToken cancellationToken)
    {
        if (record.Driver != DriverName || _processes.Find(record) is not { } process)
            return null;
        QemuVm? vm = null;
        try
        {
            vm = await QemuVm.AttachAsync(record, process, _processes.Time, cancellationToken).ConfigureAwait(false);
            if (await vm.IsOfThisNameAsync(cancellationToken).ConfigureAwait(false)
                && await vm.ObserveAsync(cancellationToken).ConfigureAwait(false))
            {
                return vm;
            }
            // Its launch was cut short before the guest ran: nobody knows of it, so it is as good as gone.
            await vm.KillAsync(cancellationToken).ConfigureAwait(false);
            await vm.DisposeAsync().ConfigureAwait(false);
            return null;
        }
        catch (Exception e)
        {
            var isGone = e is VmmException or IOException && await process.EndsSoonAsync().ConfigureAwait(false);
            await DisposeAsync(vm, process).ConfigureAwait(false);
            if (isGone)
                return null;
            throw;
        }
    }

    public Task PurgeAsync(string id, string runDirectory, CancellationToken cancellationToken) =>
        _processes.PurgeAsync(runDirectory, Files, cancellationToken);

    private async Task<IVmm> StartAsync(VmSpec spec, string program, QemuHost host, Cgroup cgroup, CancellationToken cancellationToken)
    {
        using var monitor = UnixListener.Create(Path.Combine(spec.RunDirectory, MonitorSocket));
        using var link = UnixListener.Create(Path.Combine(spec.RunDirectory, LinkSocket));
        if (spec.Template is { } template)
            QemuTemplate.Check(template.Directory, spec.MemoryMib);
        using var files = await Task.Run(() => QemuFiles.Open(spec, host, _templateMemory), cancellationToken).ConfigureAwait(false);
        List<SafeHandle> inherited = [monitor.SafeHandle, link.SafeHandle, .. files.Handles];

        var process = Start(spec, cgroup, program, host, QemuCommandLine.Build(spec, host), inherited);
        // Only QEMU's own ends are left: its death is then an end of the connection, not a wait.
        monitor.Dispose();
        link.Dispose();
        var identity = process.Identity;
        var record = new VmmRecord(DriverName, spec.Id, spec.RunDirectory, identity.Pid, identity.StartTime, spec.Cgroup);
        QemuVm? vm = null;
        try
        {
            // While QEMU reads it; nothing runs before both are done.
            var checking = spec.Restore is null ? Task.CompletedTask : Task.Run(() => SavedStream.CheckAsync(spec.Restore.Directory, cancellationToken), cancellationToken);
            vm = await QemuVm.AttachAsync(record, process, _processes.Time, cancellationToken).ConfigureAwait(false);
            if (spec.Template is not null)
                await QemuMigration.BeginLoadAsync(vm.Monitor, QemuCommandLine.StateSource(QemuDescriptors.Of(spec, host, isTemplate: false)), cancellationToken).ConfigureAwait(false);
            if (spec.Restore is not null || spec.Template is not null)
                await WaitForRestoreAsync(vm, cancellationToken).ConfigureAwait(false);
            await checking.ConfigureAwait(false);
            if (spec.Limits.Disk is not null)
                await vm.LimitDrivesAsync(spec.Limits.Disk, cancellationToken).ConfigureAwait(false);
            if (spec is not { Restore: not null, IsPausedAfterRestore: true })
                await vm.ResumeAsync(cancellationToken).ConfigureAwait(false);
            await vm.ObserveAsync(cancellationToken).ConfigureAwait(false);
            return vm;
        }
        catch (Exception e) when (e is VmmException or IOException)
        {
            // A QEMU that is on its way out says why on standard error.
            var words = await DescribeFailureAsync(process, e).ConfigureAwait(false);
            await DisposeAsync(vm, process).ConfigureAwait(false);
            if (spec.Restore is not null && (e is VmRestoreException || words.Contains(MemoryRefused, StringComparison.Ordinal)))
                throw new VmRestoreException($"qemu VM {spec.Id} does not take its saved memory: {words}", e);
            throw new VmmException($"qemu VM {spec.Id} could not be launched: {words}", e);
        }
        catch
        {
            await DisposeAsync(vm, process).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>As the VM's own user, with no right but to what it is handed.</summary>
    private VmmProcess Start(VmSpec spec, Cgroup cgroup, string program, QemuHost host, List<string> arguments, List<SafeHandle> inherited)
    {
        var user = spec.UserId is { } id ? new UnprivilegedUser(RequireSetpriv(), id, host.Groups) : null;
        // The number of threads is counted by user: only a user of its own can be held to it.
        var limits = user is null ? null : new ProcessLimits(MaxOpenFiles, MaxThreads, QemuFiles.LongestFile(spec));
        return _processes.Start(spec, cgroup, program, arguments, inherited, user: user, limits: limits);
    }

    private static string RequireSetpriv() =>
        Executable.Find(Setpriv) ?? throw new VmmException($"{Setpriv} is not installed: install the package util-linux");

    private async Task WaitForRestoreAsync(QemuVm vm, CancellationToken cancellationToken)
    {
        while (await vm.GetStatusAsync(cancellationToken).ConfigureAwait(false) == "inmigrate")
            await Task.Delay(RestorePoll, _processes.Time, cancellationToken).ConfigureAwait(false);
    }

    private static async Task<string> DescribeFailureAsync(VmmProcess process, Exception error)
    {
        if (await process.EndsSoonAsync().ConfigureAwait(false))
            return await process.DescribeEndAsync().ConfigureAwait(false);
        var words = process.ReadOutput().Trim();
        return words.Length == 0 ? error.Message : $"{error.Message}: {words}";
    }

    private async Task<string> GetVersionAsync(CancellationToken cancellationToken)
    {
        if (_version is not null)
            return _version;
        var program = Executable.Find(_options.Qemu) ?? throw new VmmException($"{_options.Qemu} is not installed: install the package qemu-system-x86");
        try
        {
            var words = await CommandRunner.RunCheckedAsync(program, ["--version"], cancellationToken: cancellationToken).ConfigureAwait(false);
            return _version = ParseVersion(words) ?? throw new VmmException($"{program} --version says no version: {words.Split('\n')[0]}");
        }
        catch (CommandException e)
        {
            throw new VmmException(e.Message, e);
        }
    }

    /// <summary>"QEMU emulator version 7.2.22 (Debian …)" → "7.2.22".</summary>
    internal static string? ParseVersion(string text)
    {
        const string Before = "version ";
        var at = text.IndexOf(Before, StringComparison.Ordinal);
        if (at < 0)
            return null;
        var version = new string([.. text.AsSpan(at + Before.Length).ToString().TakeWhile(c => char.IsAsciiDigit(c) || c == '.')]);
        return version.Length == 0 ? null : version;
    }

    private static async Task DisposeAsync(QemuVm? vm, VmmProcess process)
    {
        if (vm is not null)
            await vm.DisposeAsync().ConfigureAwait(false);
        else
            process.Dispose();
    }
}
