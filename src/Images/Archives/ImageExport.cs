using Ravel.Images.Archives;
using Ravel.Images.Erofs;
using Ravel.Images.Manifests;
using Ravel.Images.Tar;

namespace Ravel.Images;

/// <summary>The forms an image is exported in.</summary>
public enum ExportFormat
{
    /// <summary>A tar of an OCI image layout (OCI image specification, image-layout.md).</summary>
    OciArchive,

    /// <summary>What <c>docker save</c> writes and <c>docker load</c> reads (moby's image specification v1.2).</summary>
    DockerArchive,
}

/// <summary>
/// An image of the store as an archive. The store keeps root file systems, not layers, so the archive has one uncompressed layer
/// with all of it, and a configuration that says what the image's own said about running. The same image gives the same bytes.
/// </summary>
/// <remarks>Reads the root file system twice, first for the digest that stands in front of its bytes; nothing is kept on disk.</remarks>
public sealed class ImageExport : IDisposable
{
    private readonly ErofsImage _rootfs;
    private readonly long _layerBytes;
    private readonly IReadOnlyList<(string Name, byte[] Content)> _documents;
    private readonly string _layerName;

    private ImageExport(ErofsImage rootfs, Digest layer, long layerBytes, StoredImage image, ImageReference? name, ExportFormat format)
    {
        _rootfs = rootfs;
        _layerBytes = layerBytes;
        var config = ImageDocuments.Config(image.Config, rootfs.BuildTime, layer);
        if (format == ExportFormat.OciArchive)
        {
            var manifest = ImageDocuments.Manifest(config, layer, layerBytes);
            _layerName = BlobName(layer);
            _documents =
            [
                ("oci-layout", """{"imageLayoutVersion":"1.0.0"}"""u8.ToArray()),
                ("index.json", ImageDocuments.Index(manifest, name)),
                (BlobName(Digest.Of(manifest)), manifest),
                (BlobName(Digest.Of(config)), config),
            ];
        }
        else
        {
            _layerName = $"{layer.Hex}/layer.tar";
            var configName = $"{Digest.Of(config).Hex}.json";
            _documents = [("manifest.json", ImageDocuments.DockerManifest(configName, _layerName, name)), (configName, config)];
        }
    }

    /// <summary>Of the archive. Bytes.</summary>
    public long Length =>
        _documents.Sum(file => TarWriter.FileLength(file.Content.Length)) + TarWriter.FileLength(_layerBytes) + (2 * TarReader.BlockSize);

    /// <summary>Reads the image once; it must stay in the store until this is disposed.</summary>
    /// <param name="name">What the archive calls it; null for nothing.</param>
    /// <exception cref="ImageException"><c>image-damaged</c>: its root file system is damaged or gone.</exception>
    public static async Task<ImageExport> OpenAsync(StoredImage image, ImageReference? name, ExportFormat format, CancellationToken cancellationToken)
    {
        ErofsImage rootfs;
        try
        {
            rootfs = ErofsImage.Open(image.RootfsPath);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException("image-damaged", $"the root file system of image {image.ManifestDigest} cannot be read: {e.Message}", e);
        }
        try
        {
            await using var hash = new HashingStream();
            // Both passes are processor work and reads of a local file: not on the thread of whoever asks.
            await Task.Run(() => RootfsTar.WriteAsync(rootfs, hash, cancellationToken), cancellationToken);
            return new ImageExport(rootfs, hash.Digest(), hash.Length, image, name, format);
        }
        catch
        {
            rootfs.Dispose();
            throw;
        }
    }

    /// <summary>Reads the image again. A store's rootfs files are never changed, so that it is what the digest says.</summary>
    /// <exception cref="ImageException"><c>image-damaged</c>: the root file system can no longer be read as one.</exception>
    public async Task WriteAsync(Stream output, CancellationToken cancellationToken)
    {
        var tar = new TarWriter(output);
        foreach (var (name, content) in _documents)
            await tar.WriteFileAsync(name, content, cancellationToken);
        await tar.WriteFileHeaderAsync(_layerName, _layerBytes, cancellationToken);
        await RootfsTar.WriteAsync(_rootfs, output, cancellationToken);
        await tar.PadAsync(_layerBytes, cancellationToken);
        await tar.EndAsync(cancellationToken);
    }

    public void Dispose() => _rootfs.Dispose();

    private static string BlobName(Digest digest) => $"blobs/sha256/{digest.Hex}";
}
