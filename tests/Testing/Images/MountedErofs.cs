using Ravel.Linux.Processes;

namespace Ravel.Testing.Images;

/// <summary>An EROFS file mounted by the kernel, read-only, until disposed. Needs root.</summary>
public sealed class MountedErofs : IAsyncDisposable
{
    private MountedErofs(string path) => Path = path;

    public string Path { get; }

    public static async Task<MountedErofs> MountAsync(string image, CancellationToken cancellationToken = default)
    {
        var path = Directory.CreateTempSubdirectory("ravel-erofs-").FullName;
        try
        {
            await CommandRunner.RunCheckedAsync("mount", ["-t", "erofs", "-o", "ro,loop", image, path], cancellationToken: cancellationToken);
            return new MountedErofs(path);
        }
        catch
        {
            Directory.Delete(path);
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        // Not cancellable: a mount that stays keeps a loop device and its file.
        await CommandRunner.RunCheckedAsync("umount", [Path]);
        Directory.Delete(Path);
    }
}
