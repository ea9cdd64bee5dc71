namespace Ravel.Linux.Files;

/// <summary>Makes changes to files outlive a power cut.</summary>
public static class DurableFiles
{
    /// <summary>Renames a file that is whole, over one that may be there, with its content on the disk first (fsync(2), rename(2)).</summary>
    /// <exception cref="IOException">Nothing was renamed, or it is not known to be durable.</exception>
    public static void Publish(string temporary, string path)
    {
        using (var file = File.OpenHandle(temporary, access: FileAccess.ReadWrite))
            RandomAccess.FlushToDisk(file);
        File.Move(temporary, path, overwrite: true);
        FileBlocks.SyncDirectory(Path.GetDirectoryName(path)!);
    }

    /// <summary>Sets a file's length, durably.</summary>
    public static void SetLength(string path, long length)
    {
        using var file = File.OpenHandle(path, access: FileAccess.ReadWrite, share: FileShare.ReadWrite);
        RandomAccess.SetLength(file, length);
        RandomAccess.FlushToDisk(file);
    }

    /// <summary>Removes a file, durably; one that is not there is no error.</summary>
    public static void Delete(string path)
    {
        File.Delete(path);
        FileBlocks.SyncDirectory(Path.GetDirectoryName(path)!);
    }
}
