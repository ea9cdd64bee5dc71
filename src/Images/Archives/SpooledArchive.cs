using Microsoft.Win32.SafeHandles;
using Ravel.Images.Layers;

namespace Ravel.Images.Archives;

/// <summary>
/// An archive that cannot be read where it is, because it is compressed (<c>docker save | gzip</c>) or a pipe: members are
/// needed out of order, and neither gives that. It is copied into a file whose name is taken away before anything is written,
/// so that no byte of it is left however the process ends.
/// </summary>
internal static class SpooledArchive
{
    private const int BufferSize = 256 * 1024;

    /// <summary>Opens an archive for reading at any offset, inflated.</summary>
    /// <param name="scratch">A directory on a disk with room.</param>
    /// <exception cref="ImageException"><c>image-not-found</c>, <c>image-invalid</c> or <c>disk-full</c>, naming the archive.</exception>
    public static SafeFileHandle Open(string path, string scratch, ImageLimits limits, CancellationToken cancellationToken)
    {
        var file = OpenPlain(path, scratch, limits, cancellationToken);
        try
        {
            var start = new byte[6];
            start = start[..RandomAccess.Read(file, start, 0)];
            if (OtherCompression(start) is { } other)
                throw new ImageException("image-invalid", $"{path} is compressed with {other}; use gzip or zstd, or decompress it first");
            if (!Inflaters.IsCompressed(start))
                return file;
            using var compressed = file;
            using var stored = new FilePart(compressed, 0, RandomAccess.GetLength(compressed));
            using var inflater = Inflaters.Open(stored, start);
            return Copy(inflater, path, scratch, limits, cancellationToken);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static SafeFileHandle OpenPlain(string path, string scratch, ImageLimits limits, CancellationToken cancellationToken)
    {
        FileStream stream;
        try
        {
            stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.SequentialScan);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException("image-not-found", $"{path} cannot be read: {e.Message}", e);
        }
        if (stream.CanSeek)
            return stream.SafeFileHandle;
        using (stream)
            return Copy(stream, path, scratch, limits, cancellationToken);
    }

    private static SafeFileHandle Copy(Stream from, string path, string scratch, ImageLimits limits, CancellationToken cancellationToken)
    {
        var temporary = Path.Combine(scratch, $".ravel-{Path.GetRandomFileName()}");
        SafeFileHandle? file = null;
        try
        {
            file = File.OpenHandle(temporary, FileMode.CreateNew, FileAccess.ReadWrite);
            File.Delete(temporary);
            var buffer = new byte[BufferSize];
            for (long length = 0; ;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var read = Fill(from, buffer, path);
                if (read == 0)
                    return file;
                // An archive holds stored layers and a little more: their limit is its limit.
                if (read > limits.MaxCompressedBytes - length)
                    throw new ImageException("image-invalid", $"{path} has over {limits.MaxCompressedBytes} bytes when inflated");
                RandomAccess.Write(file, buffer.AsSpan(0, read), length);
                length += read;
            }
        }
        catch (Exception e)
        {
            file?.Dispose();
            if (e is IOException or UnauthorizedAccessException)
                throw DiskErrors.Translate(e, scratch);
            throw;
        }
    }

    private static int Fill(Stream from, byte[] buffer, string path)
    {
        try
        {
            return from.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
        }
        catch (InvalidDataException e)
        {
            throw new ImageException("image-invalid", $"{path} is not compressed as it says: {e.Message}", e);
        }
        catch (IOException e)
        {
            throw new ImageException("image-not-found", $"{path} cannot be read: {e.Message}", e);
        }
    }

    private static string? OtherCompression(ReadOnlySpan<byte> start) => start switch
    {
        [0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', ..] => "xz",
        [(byte)'B', (byte)'Z', (byte)'h', ..] => "bzip2",
        _ => null,
    };
}
