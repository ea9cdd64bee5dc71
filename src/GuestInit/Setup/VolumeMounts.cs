using Ravel.Contracts.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Setup;

/// <summary>Volumes over the root, each grown to its device.</summary>
internal sealed class VolumeMounts
{
    private readonly List<string> _mounted = [];

    /// <summary>After the root is entered: links of the image lead where they lead the workload.</summary>
    public void Mount(IReadOnlyList<VolumeConfig>? volumes)
    {
        foreach (var volume in volumes ?? [])
        {
            try
            {
                FileSystems.MakeDirectories(volume.Path);
                RootFileSystem.AwaitDevice(volume.Device);
                var flags = MountFlags.NoAccessTime | (volume.ReadOnly ? MountFlags.ReadOnly : MountFlags.None);
                FileSystems.Mount(volume.Device, volume.Path, "ext4", flags);
                _mounted.Add(volume.Path);
                if (volume.ReadOnly)
                    continue;
                RootFileSystem.Grow(volume.Path, volume.Device);
                // Programs that want an empty directory find one.
                FileSystems.TryRemoveDirectory(Path.Combine(volume.Path, "lost+found"));
            }
            catch (SystemCallException e)
            {
                throw new SetupException(SetupException.SetupFailed, $"the volume at {volume.Path} cannot be mounted: {e.Message}");
            }
        }
    }

    /// <summary>At the end, when every process is gone. Everything is synchronised already; this leaves the volumes clean as well.</summary>
    public void Unmount()
    {
        for (var i = _mounted.Count - 1; i >= 0; i--)
        {
            var error = FileSystems.TryUnmount(_mounted[i]);
            if (error != 0)
                error = FileSystems.TryRemountReadOnly(_mounted[i]);
            if (error != 0)
                GuestConsole.Say($"the volume at {_mounted[i]} could not be put to rest (error {error}); it was synchronised");
        }
        _mounted.Clear();
    }
}
