using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Ravel.Contracts.Ids;

/// <summary>
/// One incarnation of a machine on one node: a ULID (26 Crockford base-32 digits, upper case), so that
/// instances sort by the time they were made. Safe as a VMM id (Firecracker allows letters, digits, '-').
/// </summary>
[JsonConverter(typeof(InstanceIdJsonConverter))]
public readonly record struct InstanceId : IComparable<InstanceId>
{
    private readonly Ulid _value;

    private InstanceId(Ulid value) => _value = value;

    public static InstanceId New(DateTimeOffset now) => new(Ulid.NewUlid(now));

    public static InstanceId Parse(string text) =>
        TryParse(text, out var id) ? id : throw new FormatException($"'{text}' is not an instance id (a ULID).");

    public static bool TryParse([NotNullWhen(true)] string? text, out InstanceId id)
    {
        id = default;
        if (text is not { Length: 26 } || !Ulid.TryParse(text, out var value))
            return false;
        id = new InstanceId(value);
        return true;
    }

    public int CompareTo(InstanceId other) => _value.CompareTo(other._value);

    public override string ToString() => _value.ToString();
}

/// <summary>Writes the id as a JSON string.</summary>
public sealed class InstanceIdJsonConverter : JsonConverter<InstanceId>
{
    public override InstanceId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        InstanceId.TryParse(reader.GetString(), out var id) ? id : throw new JsonException("not an instance id");

    public override void Write(Utf8JsonWriter writer, InstanceId value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}
