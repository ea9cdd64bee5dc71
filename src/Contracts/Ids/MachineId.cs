using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Ravel.Contracts.Ids;

/// <summary>
/// The durable identity of a machine: 14 lower-case hexadecimal digits (56 random bits), the shape the
/// Fly Machines API uses. Random rather than sortable, so that a short prefix typed by a person is
/// usually unique.
/// </summary>
[JsonConverter(typeof(MachineIdJsonConverter))]
public readonly record struct MachineId : IComparable<MachineId>
{
    /// <summary>Length of the text form.</summary>
    public const int Length = 14;

    private readonly string? _value;

    private MachineId(string value) => _value = value;

    public string Value => _value ?? throw new InvalidOperationException("The machine id was never set.");

    public static MachineId New()
    {
        Span<byte> bytes = stackalloc byte[Length / 2];
        RandomNumberGenerator.Fill(bytes);
        return new MachineId(Convert.ToHexStringLower(bytes));
    }

    public static MachineId Parse(string text) =>
        TryParse(text, out var id) ? id : throw new FormatException($"'{text}' is not a machine id (14 hexadecimal digits).");

    public static bool TryParse([NotNullWhen(true)] string? text, out MachineId id)
    {
        id = default;
        if (text is not { Length: Length })
            return false;
        foreach (var c in text)
        {
            if (!char.IsAsciiHexDigitLower(c))
                return false;
        }
        id = new MachineId(text);
        return true;
    }

    public int CompareTo(MachineId other) => string.CompareOrdinal(_value, other._value);

    public override string ToString() => _value ?? "";
}

/// <summary>Writes the id as a JSON string.</summary>
public sealed class MachineIdJsonConverter : JsonConverter<MachineId>
{
    public override MachineId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        MachineId.TryParse(reader.GetString(), out var id) ? id : throw new JsonException("not a machine id");

    public override void Write(Utf8JsonWriter writer, MachineId value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.Value);
}
