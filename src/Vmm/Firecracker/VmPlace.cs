using Ravel.Linux.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>
/// Where a VM's files are on the host. In a jail the VM's user owns the directory and may put any name there at any time, a link to a file of
/// somebody else's included: what the host makes, it makes in <see cref="Own"/>, which that user cannot write, and passes by name only.
/// </summary>
/// <param name="Directory">What the VM's paths are relative to: the run directory, or the root of its jail.</param>
/// <param name="Own">The host's, on the same file system; the run directory when there is no jail.</param>
/// <param name="User">User and group of a jailed VM; null = the caller's.</param>
internal sealed record VmPlace(string Directory, string Own, int? User)
{
    public string Socket => Path.Combine(Directory, VmFiles.ApiSocket);

    /// <summary>Moves a file the host has made under <see cref="Own"/> to the VM, for it to use.</summary>
    public void Give(string name, string? ownName = null)
    {
        var own = Path.Combine(Own, ownName ?? name);
        if (User is { } user)
            FileLinks.ChangeOwner(own, user, user);
        var target = Path.Combine(Directory, name);
        if (own != target)
            File.Move(own, target, overwrite: true);
    }

    /// <summary>As <see cref="Give"/>, keeping the host's own name for the file.</summary>
    public void Share(string name)
    {
        var own = Path.Combine(Own, name);
        if (User is { } user)
            FileLinks.ChangeOwner(own, user, user);
        if (Own != Directory)
            FileLinks.HardLink(own, Path.Combine(Directory, name));
    }

    /// <summary>Takes a file the VM has written, for the host to keep as <paramref name="target"/>, readable only from then on.</summary>
    /// <exception cref="IOException">It is not there, or no plain file of a length between 1 and <paramref name="maximum"/>.</exception>
    public void Take(string name, string target, long maximum)
    {
        var taken = Path.Combine(Own, VmFiles.Taken(name));
        File.Move(Path.Combine(Directory, name), taken, overwrite: true);
        // A pipe or a device has no length.
        var file = new FileInfo(taken);
        if (file.LinkTarget is not null || !file.Exists || file.Length == 0 || file.Length > maximum)
            throw new IOException($"{name} is no file that a snapshot could have");
        if (User is not null)
            FileLinks.ChangeOwner(taken, 0, 0);
        // All may read it who reach it: a hard link of it is what another VM's user opens. Its directory is for the owner alone.
        File.SetUnixFileMode(taken, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        File.Move(taken, target);
    }
}
