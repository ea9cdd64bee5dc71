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
    /// Adds an image from an OCI layout directory, an oci-archive or a docker-archive, the archives also compressed with gzip
    /// or zstd; such a one is inflated in its own directory.
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

    /// <summary>Keeps an image from being removed until disposed. Leases are in memory: an agent takes them again when it adopts.</summary>
    IDisposable Lease(string manifestDigest);
}

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
    DateTimeOffset CreatedAt);

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

    public string Architecture { get; init; } = "";
}

/// <summary>What a pull is doing. <paramref name="Phase"/>: <c>resolve</c>, <c>pull</c> (with a layer) or <c>build</c>.</summary>
public sealed record ImageProgress(string Phase, string? LayerDigest = null, long ReceivedBytes = 0, long TotalBytes = 0);

/// <summary>An image that could not be had. <see cref="Code"/> is one of the API's problem codes.</summary>
public sealed class ImageException : Exception
{
    public ImageException(string code, string message)
        : base(message) => Code = code;

    public ImageException(string code, string message, Exception inner)
        : base(message, inner) => Code = code;

    /// <summary><c>image-not-found</c>, <c>image-invalid</c>, <c>image-pull-failed</c>, <c>registry-unauthorized</c>, <c>image-in-use</c>, <c>disk-full</c> or <c>invalid-request</c>.</summary>
    public string Code { get; }
}
