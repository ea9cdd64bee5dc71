using System.Text.Json;
using System.Text.Unicode;

namespace Ravel.Images.Manifests;

/// <summary>
/// JSON from a stranger, so that whatever it holds can be asked for without surprise: no key twice (readers differ on which counts), no
/// text that is not Unicode (which throws only once it is read), nesting bounded.
/// </summary>
internal static class UntrustedJson
{
    private static readonly JsonDocumentOptions Strict = new() { MaxDepth = 64, AllowDuplicateProperties = false };

    /// <exception cref="JsonException">Not such JSON.</exception>
    public static JsonElement Parse(ReadOnlyMemory<byte> content)
    {
        if (!Utf8.IsValid(content.Span))
            throw new JsonException("it is not UTF-8");
        CheckEscapes(content.Span);
        using var document = JsonDocument.Parse(content, Strict);
        return document.RootElement.Clone();
    }

    /// <summary>Half a surrogate pair, <c>\ud800</c>, is well-formed JSON and no text.</summary>
    private static void CheckEscapes(ReadOnlySpan<byte> content)
    {
        var reader = new Utf8JsonReader(content, new JsonReaderOptions { MaxDepth = Strict.MaxDepth });
        while (reader.Read())
        {
            if (!reader.ValueIsEscaped)
                continue;
            try
            {
                reader.GetString();
            }
            catch (InvalidOperationException e)
            {
                throw new JsonException("it has half a character", e);
            }
        }
    }
}
