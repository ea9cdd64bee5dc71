using System.Globalization;
using Ravel.Linux.Files;
using Ravel.Linux.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>
/// One VM's jail below the jailer's base directory (docs/jailer.md): <c>BASE/EXEC/ID/root</c>, with a user and group id no other
/// VM on the host has. The id is claimed with a file that is made exclusively, so that no crash and no second agent can
/// give it twice. <c>BASE/EXEC/ID</c> stays root's: see <see cref="VmPlace"/>.
/// </summary>
internal sealed class Jail
{
    private const string Claims = "uids";

    /// <summary>Its drives, taps and sockets are a few dozen.</summary>
    private const int MaxOpenFiles = 1024;

    private const UnixFileMode Enter = UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    private readonly VmmOptions _options;
    private readonly string _id;

    public Jail(VmmOptions options, string id)
    {
        _options = options;
        _id = id;
        // The jailer takes the name of the program it starts.
        Directory = Path.Combine(options.JailDirectory, Path.GetFileName(options.Firecracker), id);
    }

    public string Directory { get; }

    /// <summary>What the VM sees as "/".</summary>
    public string Root => Path.Combine(Directory, "root");

    /// <summary>Where the jailer writes the pid with --new-pid-ns.</summary>
    public string PidFile => Path.Combine(Root, Path.GetFileName(_options.Firecracker) + ".pid");

    /// <summary>The longest path a Unix socket has here; it must not exceed <see cref="VmSpecRules.MaxSocketPath"/>.</summary>
    public int SocketPathBytes => System.Text.Encoding.UTF8.GetByteCount(Path.Combine(Root, VmFiles.LinkSocket));

    /// <summary>The jailer's arguments. It joins no group but the one it was started in.</summary>
    /// <param name="firecracker">Absolute path of the program.</param>
    /// <param name="uid">User and group id.</param>
    /// <param name="hasUnified">Whether the group is in the v2 tree.</param>
    /// <param name="cgroup">The group, below the root of each hierarchy.</param>
    /// <param name="longestFile">Bytes beyond which it can write to no file.</param>
    /// <param name="networkNamespace">Path of the one to join, or null for the host's.</param>
    public IReadOnlyList<string> Arguments(string firecracker, int uid, bool hasUnified, string cgroup, long longestFile, string? networkNamespace)
    {
        var user = uid.ToString(CultureInfo.InvariantCulture);
        return
        [
            "--id", _id,
            "--exec-file", firecracker,
            "--uid", user,
            "--gid", user,
            "--chroot-base-dir", _options.JailDirectory,
            // Without --cgroup it makes no group: version 2 moves it to the parent, where it is already, version 1 leaves it where it was started.
            "--cgroup-version", hasUnified ? "2" : "1",
            "--parent-cgroup", cgroup,
            .. networkNamespace is null ? (IEnumerable<string>)[] : ["--netns", networkNamespace],
            "--resource-limit", string.Create(CultureInfo.InvariantCulture, $"no-file={MaxOpenFiles}"),
            "--resource-limit", string.Create(CultureInfo.InvariantCulture, $"fsize={longestFile}"),
            "--new-pid-ns",
            "--", "--api-sock", VmFiles.ApiSocket,
        ];
    }

    /// <summary>Makes the root directory and claims a user id for it.</summary>
    /// <exception cref="VmmException">All ids are taken.</exception>
    public int Create()
    {
        var claims = Path.Combine(_options.JailDirectory, Claims);
        System.IO.Directory.CreateDirectory(claims);
        System.IO.Directory.CreateDirectory(Root);
        // What is in it, other users' jails do not reach even from outside.
        File.SetUnixFileMode(Directory, Enter | UnixFileMode.UserWrite | UnixFileMode.UserRead);
        File.SetUnixFileMode(Root, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var start = Math.Abs(_id.Aggregate(17, (hash, c) => unchecked((hash * 31) + c)) % _options.JailIdCount);
        for (var i = 0; i < _options.JailIdCount; i++)
        {
            var uid = _options.JailFirstId + ((start + i) % _options.JailIdCount);
            try
            {
                using var claim = new FileStream(
                    Path.Combine(claims, uid.ToString(CultureInfo.InvariantCulture)), FileMode.CreateNew, FileAccess.Write);
                claim.Write(System.Text.Encoding.ASCII.GetBytes(_id));
                FileLinks.ChangeOwner(Root, uid, uid);
                return uid;
            }
            catch (IOException) when (File.Exists(Path.Combine(claims, uid.ToString(CultureInfo.InvariantCulture))))
            {
                // Another VM's.
            }
        }
        throw new VmmException($"all {_options.JailIdCount} user ids of jails are in use; purge VMs that have ended");
    }

    /// <summary>
    /// Puts a file into the jail: as a hard link, so that a rootfs is shared and a disk's writes are kept; from another file system as a
    /// bind mount, which the jailer takes along into its own tree. One that is read only and not for all to read is copied.
    /// </summary>
    public void Place(string source, string name, int uid, bool isReadOnly)
    {
        var target = Path.Combine(Root, name);
        try
        {
            if (isReadOnly && !File.GetUnixFileMode(source).HasFlag(UnixFileMode.OtherRead))
            {
                File.Copy(source, target);
                FileLinks.ChangeOwner(target, uid, uid);
                return;
            }
            // The owner first, for it is the file's and not the name's.
            if (!isReadOnly)
                FileLinks.ChangeOwner(source, uid, uid);
            if (FileLinks.TryHardLink(source, target))
                return;
            File.Create(target).Dispose();
            BindMount.Create(source, target, isReadOnly);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"{source} cannot be put into the jail {Root}: {e.Message}", e);
        }
    }

    /// <summary>
    /// Removes the jail and gives its user id back. Idempotent. Links and mounts only: the files themselves stay where they are.
    /// </summary>
    public void Remove()
    {
        var claims = Path.Combine(_options.JailDirectory, Claims);
        if (System.IO.Directory.Exists(Directory))
        {
            BindMount.RemoveBelow(Directory);
            System.IO.Directory.Delete(Directory, recursive: true);
        }
        if (!System.IO.Directory.Exists(claims))
            return;
        // After the files, so that the id's next owner finds none of this one's.
        foreach (var claim in System.IO.Directory.EnumerateFiles(claims))
        {
            try
            {
                if (File.ReadAllText(claim) == _id)
                    File.Delete(claim);
            }
            catch (FileNotFoundException)
            {
                // Given back by its owner meanwhile.
            }
        }
    }
}
