using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Ravel.Linux.Files;
using Ravel.Linux.Network;
using Ravel.Linux.Processes;

namespace Ravel.Vmm.Qemu;

/// <summary>What QEMU is handed besides its sockets, opened with this process's rights, in the order of <see cref="QemuDescriptors"/>.</summary>
internal sealed class QemuFiles : IDisposable
{
    private readonly List<SafeFileHandle> _files = [];

    private QemuFiles()
    {
    }

    public IReadOnlyList<SafeHandle> Handles => _files;

    /// <exception cref="VmmException">One cannot be opened.</exception>
    public static QemuFiles Open(VmSpec spec, QemuHost host, QemuTemplateMemory templates)
    {
        var files = new QemuFiles();
        try
        {
            files.OpenForAll(spec.Boot.KernelPath);
            files.OpenForAll(spec.Boot.InitramfsPath);
            foreach (var drive in spec.Drives)
                files.Add(drive.Path, drive.ReadOnly ? FileAccess.Read : FileAccess.ReadWrite);
            foreach (var network in spec.Networks)
                files._files.Add(Tap.OpenForVmm(network.Tap));
            files.AddVhosts(host.HasVhostNet ? spec.Networks.Count : 0);
            if (spec.Restore is { } restore)
                files.AddSaved(Path.Combine(restore.Directory, QemuDriver.SnapshotFile));
            if (spec.Template is { } template)
            {
                files.Add(Path.Combine(template.Directory, QemuTemplate.StateFile), FileAccess.Read);
                files._files.Add(templates.Open(template.Directory));
            }
            return files;
        }
        catch (Exception e)
        {
            files.Dispose();
            if (e is IOException or UnauthorizedAccessException or LinuxNetworkException)
                throw new VmmException($"qemu VM {spec.Id} could not be launched: {e.Message}", e);
            throw;
        }
    }

    /// <summary>For the guest of a template: no network, and a file that becomes its memory.</summary>
    /// <exception cref="VmmException">One cannot be opened.</exception>
    public static QemuFiles OpenForTemplate(VmSpec spec, string memory)
    {
        var files = new QemuFiles();
        try
        {
            files.OpenForAll(spec.Boot.KernelPath);
            files.OpenForAll(spec.Boot.InitramfsPath);
            foreach (var drive in spec.Drives)
                files.Add(drive.Path, drive.ReadOnly ? FileAccess.Read : FileAccess.ReadWrite);
            files._files.Add(File.OpenHandle(memory, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.ReadWrite));
            RandomAccess.SetLength(files._files[^1], (long)spec.MemoryMib << 20);
            if (spec.UserId is { } user)
                FileLinks.ChangeOwner(memory, user, user);
            return files;
        }
        catch (Exception e)
        {
            files.Dispose();
            if (e is IOException or UnauthorizedAccessException)
                throw new VmmException($"the guest of a template could not be launched: {e.Message}", e);
            throw;
        }
    }

    /// <summary>How long a file may become by what QEMU writes: none of its drives grows under it.</summary>
    public static long LongestFile(VmSpec spec) =>
        spec.Drives.Where(drive => !drive.ReadOnly).Select(drive => new FileInfo(drive.Path).Length).DefaultIfEmpty(0).Max();

    public void Dispose() => _files.ForEach(file => file.Dispose());

    /// <summary>Without a lock of .NET's: it would go with the descriptor and last as long as the VM.</summary>
    private void Add(string path, FileAccess access) => _files.Add(File.OpenHandle(path, FileMode.Open, access, FileShare.ReadWrite | FileShare.Delete));

    /// <exception cref="VmRestoreException">It is not there, and will not come back.</exception>
    private void AddSaved(string path)
    {
        try
        {
            Add(path, FileAccess.Read);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new VmRestoreException($"snapshot {path} is not there", e);
        }
    }

    /// <summary>What QEMU opens anew by its descriptor, as its own user; one that is not for all to read is copied.</summary>
    private void OpenForAll(string path)
    {
        if (File.GetUnixFileMode(path).HasFlag(UnixFileMode.OtherRead))
            Add(path, FileAccess.Read);
        else
            _files.Add(SealedMemory.CopyOf(path));
    }

    private void AddVhosts(int count)
    {
        for (var i = 0; i < count; i++)
            Add("/dev/vhost-net", FileAccess.ReadWrite);
    }
}
