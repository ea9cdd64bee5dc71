using System.Globalization;

namespace Ravel.Images;

/// <summary>The images of one host: rootfs files under their manifest digest, shared read-only by every machine.</summary>
public interface IImageStore
{
    /// <summary>
    /// The rootfs of an image, pulled and built if the policy asks for it. All who want one image at once share one
    /// download and one build. With <see cref="PullPolicy.Missing"/> and the image present, no network is used.
    /// </summary>
    /// <param name="reference">As Docker writes them: <c>nginx</c>, <c>127.0.0.1:5000/team/app:1.2@sha256:…</c>, or a manifest digest in the store.</param>
    /// <exception cref="ImageException">With a stable code and a message that names the image.</exception>
    Task<StoredImage> EnsureAsync(string reference, PullPolicy policy, IProgress<ImageProgress>? progress, CancellationToken cancellationToken);

    /// <summary>
    /// As <see cref="EnsureAsync"/>, and the image is in use from the moment it is there until the result is disposed: nothing
    /// can remove it between the pull and the start of a machine.
    /// </summary>
    /// <exception cref="ImageException">As there.</exception>
    Task<ImageLease> AcquireAsync(string reference, PullPolicy policy, IProgress<ImageProgress>? progress, CancellationToken cancellationToken);

    /// <summary>
    /// Adds an image from an OCI layout directory, an oci-archive or a docker-archive, the archives also compressed with gzip
    /// or zstd; such a one is inflated in its own directory. As the image may be nowhere else, only <see cref="RemoveAsync"/> and
    /// <see cref="PruneAsync"/> take it away again.
    /// </summary>
    /// <param name="path">Directory or file.</param>
    /// <param name="choice">Which image of it: a name it has, a tag alone, or <c>@N</c> counted from 0; null when it has only one.</param>
    /// <param name="reference">Name to give it; null keeps the name the archive has.</param>
    /// <exception cref="ImageException"><c>invalid-request</c> with the names there are when none was chosen of several.</exception>
    Task<StoredImage> ImportAsync(string path, string? choice, string? reference, CancellationToken cancellationToken);

    IReadOnlyList<StoredImage> List();

    /// <summary>By reference, manifest digest or a unique prefix (≥ 6 hex digits) of one; null when absent.</summary>
    StoredImage? Find(string referenceOrDigest);

    /// <summary>Takes a name away, and the rootfs when no name is left. Returns what was removed.</summary>
    /// <exception cref="ImageException"><c>image-in-use</c> while a machine uses it, <c>image-not-found</c>.</exception>
    Task<IReadOnlyList<string>> RemoveAsync(string referenceOrDigest, CancellationToken cancellationToken);

    /// <summary>Removes images that nobody uses: those without a name or, with <paramref name="all"/>, all of them.</summary>
    /// <param name="dryRun">Only say which.</param>
    /// <returns>The images removed, as they were.</returns>
    Task<IReadOnlyList<StoredImage>> PruneAsync(bool all, bool dryRun, CancellationToken cancellationToken);

    /// <summary>
    /// Removes images until the rest is within the limit, those first that were not used for longest. Every pull does that by itself;
    /// an agent does it when it starts, for a limit that is new.
    /// </summary>
    /// <returns>The images removed, as they were.</returns>
    Task<IReadOnlyList<StoredImage>> CollectAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Reads root file systems again and compares their digests with those of when they were built. One that differs is damaged
    /// from then on: it starts no machine, and the next pull replaces it.
    /// </summary>
    /// <param name="referenceOrDigest">As <see cref="Find"/> takes it; null for all images.</param>
    /// <exception cref="ImageException"><c>image-not-found</c>.</exception>
    IAsyncEnumerable<ImageVerification> VerifyAsync(string? referenceOrDigest, CancellationToken cancellationToken);

    /// <summary>Keeps an image from being removed until disposed. Leases are in memory: an agent takes them again when it adopts.</summary>
    IDisposable Lease(string manifestDigest);

    /// <summary>
    /// Names the images that stay although nobody leases them: those of machines at rest, whose disks fit no other.
    /// </summary>
    /// <param name="manifestDigests">Asked whenever images are to be removed, from any thread; must not call the store.</param>
    void KeepFor(Func<IReadOnlySet<string>> manifestDigests);

    /// <summary>
    /// Tells how many bytes of the disk images may still take. What would take more is refused with <c>disk-full</c>; a build that comes to need more
    /// is given up, and leaves nothing.
    /// </summary>
    /// <param name="leftBytes">Asked before a build and while it writes, from any thread.</param>
    void KeepWithin(Func<long> leftBytes);
}

/// <summary>An image in use until disposed.</summary>
/// <param name="image">As it was when the lease was taken.</param>
/// <param name="release">Called once.</param>
public sealed class ImageLease(StoredImage image, Action release) : IDisposable
{
    private Action? _release = release;

    public StoredImage Image { get; } = image;

    public void Dispose() => Interlocked.Exchange(ref _release, null)?.Invoke();
}

/// <param name="Damage">What is wrong with the image; null when it is as it was built.</param>
public sealed record ImageVerification(StoredImage Image, string? Damage);

/// <summary>Short forms.</summary>
public static class ImageStoreExtensions
{
    /// <summary>Adds the only image of a directory or an archive.</summary>
    public static Task<StoredImage> ImportAsync(this IImageStore store, string path, string? reference, CancellationToken cancellationToken) =>
        store.ImportAsync(path, choice: null, reference, cancellationToken);
}

public enum PullPolicy
{
    Missing,
    Always,
    Never,
}

/// <param name="ManifestDigest">sha256:HEX of the platform's manifest.</param>
/// <param name="References">Names that lead to it, full form (<c>docker.io/library/nginx:latest</c>).</param>
/// <param name="RootfsPath">EROFS image, read-only.</param>
/// <param name="RootfsBytes">Its size.</param>
/// <param name="Config">What the image says about running it.</param>
/// <param name="CreatedAt">When it was stored.</param>
public sealed record StoredImage(
    string ManifestDigest,
    IReadOnlyList<string> References,
    string RootfsPath,
    long RootfsBytes,
    ImageConfig Config,
    DateTimeOffset CreatedAt)
{
    /// <summary>sha256:HEX of the rootfs file, as it was built.</summary>
    public string RootfsDigest { get; init; } = "";

    /// <summary>What it was built from, base first.</summary>
    public IReadOnlyList<ImageLayer> Layers { get; init; } = [];

    /// <summary>When a pull or a start last asked for it.</summary>
    public DateTimeOffset LastUsedAt { get; init; } = CreatedAt;

    /// <summary>Came from a file, so that it cannot be pulled again.</summary>
    public bool IsImported { get; init; }

    /// <summary>Its rootfs is not what was built: it is of no use until it is pulled or imported again.</summary>
    public bool IsDamaged { get; init; }
}

/// <param name="Digest">Of the stored form; of the uncompressed one where the archive's format has no other.</param>
/// <param name="Bytes">Size of the stored form.</param>
public sealed record ImageLayer(string Digest, long Bytes);

/// <summary>The part of the image configuration that concerns running (OCI image spec, config.md).</summary>
public sealed record ImageConfig
{
    public IReadOnlyList<string> Entrypoint { get; init; } = [];

    public IReadOnlyList<string> Cmd { get; init; } = [];

    /// <summary>NAME=VALUE.</summary>
    public IReadOnlyList<string> Env { get; init; } = [];

    public string User { get; init; } = "";

    public string WorkingDir { get; init; } = "";

    /// <summary>Name or number, empty = SIGTERM.</summary>
    public string StopSignal { get; init; } = "";

    /// <summary><c>80/tcp</c>.</summary>
    public IReadOnlyList<string> ExposedPorts { get; init; } = [];

    /// <summary>Directories the image wants outside of its layers; shown, and nothing else.</summary>
    public IReadOnlyList<string> Volumes { get; init; } = [];

    public IReadOnlyDictionary<string, string> Labels { get; init; } = new Dictionary<string, string>();

    public string Architecture { get; init; } = "";
}

/// <summary>What a pull is doing. Each layer is told of with 0 bytes before the first arrives, and last with all.</summary>
/// <param name="Phase"><c>resolve</c>, <c>pull</c> (with a layer or a registry) or <c>build</c>.</param>
/// <param name="LayerDigest">The layer of which bytes came.</param>
/// <param name="ReceivedBytes">Of the layer as it is stored, so far.</param>
/// <param name="TotalBytes">What its manifest says.</param>
/// <param name="BytesPerSecond">How fast they come at present; 0 as long as nobody measured (<see cref="ProgressFeed"/> does).</param>
/// <param name="Registry">Who gives the image: its registry or one of its mirrors.</param>
public sealed record ImageProgress(
    string Phase, string? LayerDigest = null, long ReceivedBytes = 0, long TotalBytes = 0, long BytesPerSecond = 0, string? Registry = null);

/// <summary>An image that could not be had. <see cref="Code"/> is one of the API's problem codes.</summary>
/// <remarks>Messages quote what strangers wrote, so each is made one short line without control characters.</remarks>
public sealed class ImageException : Exception
{
    internal const int MaxMessageLength = 1000;

    public ImageException(string code, string message)
        : base(OneLine(message)) => Code = code;

    public ImageException(string code, string message, Exception inner)
        : base(OneLine(message), inner) => Code = code;

    /// <summary><c>image-not-found</c>, <c>image-invalid</c>, <c>image-pull-failed</c>, <c>registry-unauthorized</c>, <c>image-in-use</c>, <c>image-damaged</c>, <c>disk-full</c> or <c>invalid-request</c>.</summary>
    public string Code { get; }

    private static string OneLine(string message)
    {
        // What turns text around or hides it (category Cf) misleads a reader as much as a line break does.
        static bool IsShown(char c) => !char.IsControl(c) && char.GetUnicodeCategory(c) is not (UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
        var end = message.Length > MaxMessageLength ? MaxMessageLength - 1 : message.Length;
        if (end == message.Length && message.All(IsShown))
            return message;
        var line = string.Concat(message.Take(end).Select(c => IsShown(c) ? c : '?'));
        return end == message.Length ? line : line + '…';
    }
}
