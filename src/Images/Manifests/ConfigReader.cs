using System.Globalization;
using System.Text.Json;

namespace Ravel.Images.Manifests;

/// <summary>Reads an image's configuration (OCI image specification, config.md).</summary>
internal static class ConfigReader
{
    private const int MaxListEntries = 10_000;

    /// <exception cref="ImageException"><c>image-invalid</c>: malformed, over a limit, or for another platform.</exception>
    public static (ImageConfig Config, IReadOnlyList<Digest> DiffIds, long CreatedSeconds) Read(ReadOnlyMemory<byte> content, string what)
    {
        var document = ManifestReader.Parse(content, $"the configuration of {what}");
        var os = ManifestReader.Text(document, "os");
        var architecture = ManifestReader.Text(document, "architecture");
        if (os is not (null or "" or "linux") || architecture is not (null or "" or "amd64"))
            throw ManifestReader.Invalid($"{what} is for {os}/{architecture}, not for linux/amd64");
        if (!document.TryGetProperty("rootfs", out var rootfs) || rootfs.ValueKind != JsonValueKind.Object)
            throw ManifestReader.Invalid($"the configuration of {what} has no rootfs");
        var diffIds = ManifestReader.Array(rootfs, "diff_ids", $"the rootfs of {what}")
            .Select(id => Digest.Parse(id.ValueKind == JsonValueKind.String ? id.GetString() : null, $"a diff id of {what}"))
            .ToList();

        var config = new ImageConfig { Architecture = architecture ?? "" };
        if (document.TryGetProperty("config", out var run) && run.ValueKind == JsonValueKind.Object)
        {
            var room = ManifestReader.MaxRunSettingsCharacters;
            // Not part of what a guest is told, so it does not share that limit.
            var shownRoom = ManifestReader.MaxRunSettingsCharacters;
            config = config with
            {
                Entrypoint = Strings(run, "Entrypoint", what, ref room),
                Cmd = Strings(run, "Cmd", what, ref room),
                Env = Strings(run, "Env", what, ref room),
                User = Take(ManifestReader.Text(run, "User") ?? "", what, ref room),
                WorkingDir = Take(ManifestReader.Text(run, "WorkingDir") ?? "", what, ref room),
                StopSignal = Take(ManifestReader.Text(run, "StopSignal") ?? "", what, ref room),
                ExposedPorts = Keys(run, "ExposedPorts", what, ref room),
                Volumes = Keys(run, "Volumes", what, ref shownRoom),
                Labels = Pairs(run, "Labels", what, ref shownRoom),
            };
        }
        return (config, diffIds, Created(document));
    }

    private static List<string> Strings(JsonElement element, string name, string what, ref int room)
    {
        if (!element.TryGetProperty(name, out var value) || value.ValueKind == JsonValueKind.Null)
            return [];
        if (value.ValueKind != JsonValueKind.Array)
            throw ManifestReader.Invalid($"{name} in the configuration of {what} is not a list");
        var strings = new List<string>();
        foreach (var item in value.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.String || strings.Count >= MaxListEntries)
                throw ManifestReader.Invalid($"{name} in the configuration of {what} is not a list of at most {MaxListEntries} strings");
            strings.Add(Take(item.GetString()!, what, ref room));
        }
        return strings;
    }

    private static List<string> Keys(JsonElement element, string name, string what, ref int room)
    {
        if (!element.TryGetProperty(name, out var value) || value.ValueKind != JsonValueKind.Object)
            return [];
        var keys = new List<string>();
        foreach (var property in value.EnumerateObject())
            keys.Add(Take(property.Name, what, ref room));
        return keys;
    }

    private static Dictionary<string, string> Pairs(JsonElement element, string name, string what, ref int room)
    {
        var pairs = new Dictionary<string, string>(StringComparer.Ordinal);
        if (!element.TryGetProperty(name, out var value) || value.ValueKind != JsonValueKind.Object)
            return pairs;
        foreach (var property in value.EnumerateObject())
        {
            if (property.Value.ValueKind != JsonValueKind.String)
                throw ManifestReader.Invalid($"{name} in the configuration of {what} has a value that is not a string");
            pairs[Take(property.Name, what, ref room)] = Take(property.Value.GetString()!, what, ref room);
        }
        return pairs;
    }

    private static string Take(string text, string what, ref int room)
    {
        if (text.Contains('\0'))
            throw ManifestReader.Invalid($"the configuration of {what} has a NUL character in what it runs");
        room -= text.Length;
        return room >= 0
            ? text
            : throw ManifestReader.Invalid(
                $"the configuration of {what} has over {ManifestReader.MaxRunSettingsCharacters} characters of command and environment, or of labels");
    }

    private static long Created(JsonElement document) =>
        DateTimeOffset.TryParse(
            ManifestReader.Text(document, "created"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var created)
            ? created.ToUnixTimeSeconds()
            : 0;
}
