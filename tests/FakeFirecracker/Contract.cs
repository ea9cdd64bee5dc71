using System.Text.Json;

namespace Ravel.FakeFirecracker;

/// <summary>When an operation is allowed.</summary>
internal enum Phase
{
    Any,
    BeforeStart,
    AfterStart,
}

/// <param name="Body">Name of the body's type, or null for none.</param>
/// <param name="PathId">The id in the path, or null.</param>
internal sealed record Operation(string Path, string? Body, Phase Phase, string? PathId);

/// <summary>
/// Firecracker's API contract as data (contract.json) and what it says of a request. The words of refusals follow Firecracker's own
/// (src/firecracker/src/api_server/parsed_request.rs), since people read them in Ravel's errors.
/// </summary>
internal sealed class Contract
{
    private readonly JsonElement _root;

    private Contract(JsonElement root) => _root = root;

    public static Contract Load()
    {
        using var stream = typeof(Contract).Assembly.GetManifestResourceStream("contract.json")
            ?? throw new InvalidOperationException("contract.json is not embedded");
        using var document = JsonDocument.Parse(stream);
        return new Contract(document.RootElement.Clone());
    }

    /// <summary>Null when there is no such path with that method.</summary>
    public Operation? Find(string method, string path)
    {
        foreach (var entry in _root.GetProperty("operations").EnumerateArray())
        {
            var template = entry.GetProperty("path").GetString()!;
            if (entry.GetProperty("method").GetString() != method || !Matches(template, path, out var id))
                continue;
            var phase = entry.TryGetProperty("phase", out var text) ? text.GetString() : null;
            return new Operation(
                template,
                entry.TryGetProperty("body", out var body) ? body.GetString() : null,
                phase switch { "pre" => Phase.BeforeStart, "post" => Phase.AfterStart, _ => Phase.Any },
                id);
        }
        return null;
    }

    /// <summary>Why a body is refused, or null.</summary>
    public string? Violation(string type, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Object)
            return $"invalid type: {value.ValueKind}, expected struct {type}";
        var fields = _root.GetProperty("types").GetProperty(type);
        foreach (var property in value.EnumerateObject())
        {
            if (!fields.TryGetProperty(property.Name, out var rule))
                return $"unknown field `{property.Name}`, expected one of {string.Join(", ", fields.EnumerateObject().Select(f => $"`{f.Name}`"))}";
            if (FieldViolation(rule, property.Value) is { } words)
                return $"{property.Name}: {words}";
        }
        foreach (var field in fields.EnumerateObject())
        {
            if (field.Value.TryGetProperty("required", out var required) && required.GetBoolean() && !value.TryGetProperty(field.Name, out _))
                return $"missing field `{field.Name}`";
        }
        return null;
    }

    /// <summary>The files a valid body names, which have to exist.</summary>
    public IEnumerable<string> Files(string type, JsonElement value)
    {
        var fields = _root.GetProperty("types").GetProperty(type);
        foreach (var property in value.EnumerateObject())
        {
            var rule = fields.GetProperty(property.Name);
            if (rule.TryGetProperty("file", out var isFile) && isFile.GetBoolean())
                yield return property.Value.GetString()!;
            else if (property.Value.ValueKind == JsonValueKind.Object && IsType(rule.GetProperty("type").GetString()!))
            {
                foreach (var file in Files(rule.GetProperty("type").GetString()!, property.Value))
                    yield return file;
            }
        }
    }

    private string? FieldViolation(JsonElement rule, JsonElement value)
    {
        var type = rule.GetProperty("type").GetString()!;
        switch (type)
        {
            case "any":
                return null;
            case "string" when value.ValueKind == JsonValueKind.String:
                return EnumViolation(rule, value.GetString()!);
            case "boolean" when value.ValueKind is JsonValueKind.True or JsonValueKind.False:
                return null;
            case "integer" when value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var number):
                var isOut = (rule.TryGetProperty("minimum", out var minimum) && number < minimum.GetInt64())
                    || (rule.TryGetProperty("maximum", out var maximum) && number > maximum.GetInt64());
                return isOut ? $"invalid value: {number}" : null;
            case "array" when value.ValueKind == JsonValueKind.Array:
                var items = rule.GetProperty("items").GetString()!;
                return value.EnumerateArray().Select(item => Violation(items, item)).FirstOrDefault(words => words is not null);
            case "string" or "boolean" or "integer" or "array":
                return $"invalid type: {value.ValueKind}, expected {type}";
            default:
                return Violation(type, value);
        }
    }

    private static string? EnumViolation(JsonElement rule, string value)
    {
        if (!rule.TryGetProperty("enum", out var allowed))
            return null;
        var comparison = rule.TryGetProperty("ignoreCase", out _) ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;
        return allowed.EnumerateArray().Any(item => string.Equals(item.GetString(), value, comparison))
            ? null
            : $"unknown variant `{value}`, expected one of {string.Join(", ", allowed.EnumerateArray().Select(item => $"`{item.GetString()}`"))}";
    }

    private bool IsType(string name) => _root.GetProperty("types").TryGetProperty(name, out _);

    private static bool Matches(string template, string path, out string? id)
    {
        id = null;
        var brace = template.IndexOf('{', StringComparison.Ordinal);
        if (brace < 0)
            return template == path;
        if (!path.StartsWith(template[..brace], StringComparison.Ordinal) || path.AsSpan(brace).Contains('/'))
            return false;
        id = path[brace..];
        return true;
    }
}
