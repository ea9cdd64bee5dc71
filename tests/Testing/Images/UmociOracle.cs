using System.Security.Cryptography;
using Ravel.Images;
using Ravel.Images.Archives;
using Ravel.Images.Build;
using Ravel.Linux.Processes;

namespace Ravel.Testing.Images;

/// <summary>
/// What others make of an image, against our rootfs of it: the kernel mounts it, <c>fsck.erofs</c> checks it, and every
/// path, byte, mode, owner, time, link count and extended attribute has to be what <c>umoci unpack</c> puts on a disk.
/// Needs root.
/// </summary>
/// <example>
/// <code>
/// await using var oracle = new UmociOracle();
/// TreeComparer.AssertNone(await oracle.CompareAsync(image, cancellationToken: cancellation));
/// </code>
/// </example>
public sealed class UmociOracle : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-rootfs-").FullName;
    private int _count;

    /// <summary>Builds the rootfs twice and compares.</summary>
    /// <param name="image">What the rootfs is built from.</param>
    /// <param name="unpacked">What umoci unpacks: the same image in a form umoci reads; null for <paramref name="image"/> itself.</param>
    /// <param name="ignoreTimeOf">Says which paths (<c>/a/b</c>) may differ in their time; null for none.</param>
    /// <returns>The differences, one a line, umoci's side first; empty when there are none.</returns>
    public async Task<IReadOnlyList<string>> CompareAsync(
        OciLayout image, OciLayout? unpacked = null, Func<string, bool>? ignoreTimeOf = null, CancellationToken cancellationToken = default)
    {
        var place = Path.Combine(_directory, $"{_count++}");
        Directory.CreateDirectory(place);
        var rootfs = Path.Combine(place, "rootfs.erofs");
        var again = Path.Combine(place, "again.erofs");
        await BuildAsync(image, rootfs, cancellationToken);
        await BuildAsync(image, again, cancellationToken);
        if (Sha256(rootfs) != Sha256(again))
            return ["two builds of the same image differ"];
        File.Delete(again);
        await CommandRunner.RunCheckedAsync("fsck.erofs", ["--extract", rootfs], timeout: Patience, cancellationToken: cancellationToken);

        // `umoci unpack` is this and a runtime's configuration beside it.
        unpacked ??= image;
        var tree = Path.Combine(place, "tree");
        await CommandRunner.RunCheckedAsync(
            "umoci", ["raw", "unpack", "--image", $"{unpacked.Directory}:{unpacked.Tag}", tree], timeout: Patience, cancellationToken: cancellationToken);
        IReadOnlyList<string> differences;
        await using (var mounted = await MountedErofs.MountAsync(rootfs, cancellationToken))
            differences = TreeComparer.Compare(tree, mounted.Path, ignoreTimeOf);
        await ImageRecipe.DeleteAsync(place);
        return differences;
    }

    /// <summary>The rootfs as the agent builds it, without a store.</summary>
    /// <returns>The file's size.</returns>
    public static async Task<long> BuildAsync(OciLayout image, string output, CancellationToken cancellationToken = default)
    {
        var limits = new ImageLimits();
        await using var source = new OciLayoutSource(new DirectoryFiles(image.Directory), image.Tag, image.ToString(), limits);
        var manifest = await source.ResolveAsync(cancellationToken);
        using var file = File.OpenHandle(output, FileMode.Create, FileAccess.ReadWrite);
        return await RootfsBuilder.BuildAsync(source, manifest, file, limits, durable: false, TimeProvider.System, null, cancellationToken);
    }

    public async ValueTask DisposeAsync() => await ImageRecipe.DeleteAsync(_directory);

    private static string Sha256(string path)
    {
        using var stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}
