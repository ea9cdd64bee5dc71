using Ravel.Linux.Processes;

namespace Ravel.Agent.Disks;

/// <summary>Files with an empty ext4 file system.</summary>
internal static class Ext4Image
{
    /// <exception cref="IOException">No space, or another error of the file system.</exception>
    /// <exception cref="CommandException">mkfs.ext4 is missing or failed.</exception>
    public static async Task FormatAsync(string path, long mib)
    {
        using (var file = File.OpenHandle(path, FileMode.Create, FileAccess.Write))
            RandomAccess.SetLength(file, mib * 1024 * 1024);
        // Nothing is reserved for root, who is the only user of the file system; tables stay holes until they are used.
        await CommandRunner.RunCheckedAsync("mkfs.ext4", ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", path]);
    }
}
