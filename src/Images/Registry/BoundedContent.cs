namespace Ravel.Images.Registry;

/// <summary>Reads a small answer whole, and refuses one that is not small.</summary>
internal static class BoundedContent
{
    /// <exception cref="ImageException"><c>image-invalid</c>: more than <paramref name="most"/> bytes.</exception>
    public static async Task<byte[]> ReadAsync(HttpResponseMessage response, long most, string what, CancellationToken cancellationToken)
    {
        await using var stream = await response.Content.ReadAsStreamAsync(cancellationToken);
        return await ReadAsync(stream, most, what, cancellationToken);
    }

    public static async Task<byte[]> ReadAsync(Stream stream, long most, string what, CancellationToken cancellationToken)
    {
        using var content = new MemoryStream();
        var buffer = new byte[16 * 1024];
        int read;
        while ((read = await stream.ReadAsync(buffer, cancellationToken)) > 0)
        {
            if (content.Length + read > most)
                throw new ImageException("image-invalid", $"{what} is longer than the {most} bytes expected");
            content.Write(buffer, 0, read);
        }
        return content.ToArray();
    }
}
