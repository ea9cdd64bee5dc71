using System.IO.Compression;

namespace Ravel.Images.Registry;

/// <summary>Reads a small answer whole, and refuses one that is not small.</summary>
internal static class BoundedContent
{
    /// <param name="code">Of the error when there are more than <paramref name="most"/> bytes.</param>
    /// <exception cref="ImageException">It is longer.</exception>
    public static async Task<byte[]> ReadAsync(
        Stream stream, long most, string what, CancellationToken cancellationToken, string code = "image-invalid")
    {
        using var content = new MemoryStream();
        var buffer = new byte[16 * 1024];
        int read;
        while ((read = await stream.ReadAsync(buffer, cancellationToken)) > 0)
        {
            if (content.Length + read > most)
                throw new ImageException(code, $"{what} is longer than the {most} bytes expected");
            content.Write(buffer, 0, read);
        }
        return content.ToArray();
    }

    /// <summary>
    /// What was meant by a document that a proxy compressed on the way although nobody asked for that. Documents are
    /// JSON, which never begins as gzip does.
    /// </summary>
    public static async Task<byte[]> InflateAsync(byte[] content, long most, string what, CancellationToken cancellationToken)
    {
        if (content is not [0x1f, 0x8b, ..])
            return content;
        try
        {
            await using var inflater = new GZipStream(new MemoryStream(content), CompressionMode.Decompress);
            return await ReadAsync(inflater, most, what, cancellationToken);
        }
        catch (InvalidDataException e)
        {
            throw new ImageException("image-invalid", $"{what} is not compressed as its registry says: {e.Message}", e);
        }
    }
}
