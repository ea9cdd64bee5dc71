using System.Net.Sockets;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Linux.Cgroups;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Qemu;

public sealed partial class QemuDriver
{
    /// <summary>Asks ravel-init to let no driver look at disks and network before it is configured.</summary>
    private const string HoldArgument = "ravel.hold=1";

    private const int PlaceholderBytes = 4096;

    /// <inheritdoc/>
    public async Task<string> KeyOfAsync(VmSpec spec, CancellationToken cancellationToken) => await QemuTemplate.KeyAsync(
        spec,
        await GetVersionAsync(cancellationToken).ConfigureAwait(false),
        QemuHost.Detect(_options.Accelerator),
        QemuHost.ReadProcessor(),
        cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public async Task BuildAsync(VmSpec spec, string directory, CancellationToken cancellationToken)
    {
        VmSpecRules.Check(spec, DriverName);
        var program = Executable.Find(_options.Qemu) ?? throw new VmmException($"{_options.Qemu} is not installed: install the package qemu-system-x86");
        var host = QemuHost.Detect(_options.Accelerator);
        var placeholders = spec.Drives.Select((_, i) => Path.Combine(directory, $"placeholder{i}")).ToList();
        spec = spec with
        {
            Boot = spec.Boot with { ExtraArguments = $"{spec.Boot.ExtraArguments} {HoldArgument}".Trim() },
            Drives = [.. spec.Drives.Zip(placeholders, (drive, path) => drive with { Path = path })],
            Restore = null,
            Template = null,
            Limits = new VmLimits(),
        };
        var cgroup = _processes.Prepare(spec, QemuCommandLine.Overhead(host));
        try
        {
            foreach (var path in placeholders)
                await File.WriteAllBytesAsync(path, new byte[PlaceholderBytes], cancellationToken).ConfigureAwait(false);
            var state = await SaveWaitingGuestAsync(spec, directory, program, host, cgroup, cancellationToken).ConfigureAwait(false);
            await PurgeAsync(spec.Id, spec.RunDirectory, cancellationToken).ConfigureAwait(false);
            placeholders.ForEach(File.Delete);
            QemuTemplate.Complete(directory, state);
        }
        catch (Exception e) when (e is IOException or SocketException or UnauthorizedAccessException or LinkException)
        {
            throw new VmmException($"template {directory} could not be made: {e.Message}", e);
        }
        finally
        {
            await PurgeAsync(spec.Id, spec.RunDirectory, CancellationToken.None).ConfigureAwait(false);
        }
    }

    private async Task<SavedStream> SaveWaitingGuestAsync(
        VmSpec spec, string directory, string program, QemuHost host, Cgroup cgroup, CancellationToken cancellationToken)
    {
        using var monitor = UnixListener.Create(Path.Combine(spec.RunDirectory, MonitorSocket));
        using var link = UnixListener.Create(Path.Combine(spec.RunDirectory, LinkSocket));
        using var files = QemuFiles.OpenForTemplate(spec, Path.Combine(directory, QemuTemplate.MemoryFile));
        var arguments = QemuCommandLine.Build(spec, host, isTemplate: true);
        var process = Start(spec, cgroup, program, host, arguments, [monitor.SafeHandle, link.SafeHandle, .. files.Handles]);
        monitor.Dispose();
        link.Dispose();
        var record = new VmmRecord(DriverName, spec.Id, spec.RunDirectory, process.Identity.Pid, process.Identity.StartTime, spec.Cgroup);
        QemuVm? vm = null;
        try
        {
            vm = await QemuVm.AttachAsync(record, process, _processes.Time, cancellationToken).ConfigureAwait(false);
            await vm.ResumeAsync(cancellationToken).ConfigureAwait(false);
            await AwaitWaitingGuestAsync(vm, cancellationToken).ConfigureAwait(false);
            await vm.PauseAsync(cancellationToken).ConfigureAwait(false);
            var state = await QemuMigration.WriteAsync(
                vm.Monitor, spec.RunDirectory, Path.Combine(directory, QemuTemplate.StateFile), withoutSharedMemory: true, _processes.Time, cancellationToken).ConfigureAwait(false);
            await vm.KillAsync(cancellationToken).ConfigureAwait(false);
            return state;
        }
        catch (VmmException e)
        {
            throw new VmmException($"the guest of template {directory} could not be saved: {await DescribeFailureAsync(process, e).ConfigureAwait(false)}", e);
        }
        finally
        {
            await DisposeAsync(vm, process).ConfigureAwait(false);
        }
    }

    /// <summary>Whoever answers so has its drivers loaded and does nothing before it is spoken to.</summary>
    private static async Task AwaitWaitingGuestAsync(QemuVm vm, CancellationToken cancellationToken)
    {
        await using var channel = await vm.ConnectGuestAsync(cancellationToken).ConfigureAwait(false);
        var hello = new HostHello(LinkProtocol.MinimumVersion, LinkProtocol.Version, 0, 0);
        var connecting = HostLink.ConnectAsync(channel.Stream, channel.IsLossy, hello, cancellationToken);
        if (await Task.WhenAny(connecting, vm.Exited).ConfigureAwait(false) == vm.Exited)
            throw new VmmException($"it ended: {(await vm.Exited.ConfigureAwait(false)).Detail}");
        await using var link = await connecting.ConfigureAwait(false);
        if (link.GuestHello.Phase != GuestPhase.Waiting)
            throw new VmmException($"it is {link.GuestHello.Phase} instead of waiting");
    }
}
