using Ravel.Linux.Files;

namespace Ravel.Images.Store;

/// <summary>
/// The operations that the durability of a store rests on. Each tells of itself right before it is done, so that a test can
/// kill a process at every single one and look at what is left.
/// </summary>
internal sealed class StoreFiles(Action<string>? atStep)
{
    public void Reach(string step) => atStep?.Invoke(step);

    public void CreateDirectory(string path, string what)
    {
        Reach($"{what}: create directory");
        Directory.CreateDirectory(path);
    }

    /// <summary>A new file with this content, flushed. Its name is durable once its directory is.</summary>
    public void Write(string path, ReadOnlySpan<byte> content, string what)
    {
        Reach($"{what}: create");
        using var file = File.OpenHandle(path, FileMode.Create, FileAccess.Write);
        Reach($"{what}: write");
        RandomAccess.Write(file, content, 0);
        Reach($"{what}: flush");
        RandomAccess.FlushToDisk(file);
    }

    /// <summary>One rename(2), of a file or of a directory; replaces a file.</summary>
    public void Rename(string from, string to, string what)
    {
        Reach($"{what}: rename");
        if (Directory.Exists(from))
            Directory.Move(from, to);
        else
            File.Move(from, to, overwrite: true);
    }

    /// <summary>Has two directories change places in one step, where the file system can.</summary>
    /// <returns>False when it cannot; nothing was changed.</returns>
    public bool TryExchange(string left, string right, string what)
    {
        Reach($"{what}: exchange");
        return FileBlocks.TryExchange(left, right);
    }

    public void SyncDirectory(string path, string what)
    {
        Reach($"{what}: flush directory");
        FileBlocks.SyncDirectory(path);
    }

    /// <summary>Deletes a file, or a directory with the files and directories in it; what is gone already is no error.</summary>
    public void Delete(string path, string what)
    {
        // What a symbolic link leads to is none of the store's business.
        if (new FileInfo(path).LinkTarget is null && Directory.Exists(path))
        {
            foreach (var entry in Directory.EnumerateFileSystemEntries(path))
                Delete(entry, what);
            Reach($"{what}: delete directory");
            Directory.Delete(path);
            return;
        }
        Reach($"{what}: delete {Path.GetFileName(path)}");
        try
        {
            File.Delete(path);
        }
        catch (DirectoryNotFoundException)
        {
            // With its directory.
        }
    }
}
