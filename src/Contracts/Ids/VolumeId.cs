using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Ravel.Contracts.Ids;

/// <summary>The identity of a volume, or of a snapshot of one: <c>vol_</c> and 16 lower-case hexadecimal digits (64 random bits).</summary>
[JsonConverter(typeof(VolumeIdJsonConverter))]
public readonly record struct VolumeId : IComparable<VolumeId>
{
    /// <summary>Length of the text form.</summary>
    public const int Length = 20;

    private const string Prefix = "vol_";

    private readonly string? _value;

    private VolumeId(string value) => _value = value;

    public string Value => _value ?? throw new InvalidOperationException("The volume id was never set.");

    public static VolumeId New()
    {
        Span<byte> bytes = stackalloc byte[(Length - 4) / 2];
        RandomNumberGenerator.Fill(bytes);
        return new VolumeId(Prefix + Convert.ToHexStringLower(bytes));
    }

    public static VolumeId Parse(string text) =>
        TryParse(text, out var id) ? id : throw new FormatException($"'{text}' is not a volume id (vol_ and 16 hexadecimal digits).");

    public static bool TryParse([NotNullWhen(true)] string? text, out VolumeId id)
    {
        id = default;
        if (text is not { Length: Length } || !text.StartsWith(Prefix, StringComparison.Ordinal))
            return false;
        foreach (var c in text.AsSpan(Prefix.Length))
        {
            if (!char.IsAsciiHexDigitLower(c))
                return false;
        }
        id = new VolumeId(text);
        return true;
    }

    public int CompareTo(VolumeId other) => string.CompareOrdinal(_value, other._value);

    public override string ToString() => _value ?? "";
}

/// <summary>Writes the id as a JSON string.</summary>
public sealed class VolumeIdJsonConverter : JsonConverter<VolumeId>
{
    public override VolumeId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        VolumeId.TryParse(reader.GetString(), out var id) ? id : throw new JsonException("not a volume id");

    public override void Write(Utf8JsonWriter writer, VolumeId value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.Value);
}
