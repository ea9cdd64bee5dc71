using System.Text.Json;
using Ravel.Cli.Output;

namespace Ravel.Cli.Connection;

/// <summary>Which daemon commands without flags talk to: the one that this user brought up last.</summary>
internal sealed record ContextFile
{
    public required string DataDirectory { get; init; }

    /// <summary><c>${XDG_CONFIG_HOME:-~/.config}/ravel/context.json</c>.</summary>
    public static string PathOf(Surroundings around) =>
        Path.Combine(around.Setting("XDG_CONFIG_HOME") ?? Path.Combine(around.Home, ".config"), "ravel", "context.json");

    public static ContextFile? Read(Surroundings around)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(PathOf(around)), CliJson.Default.ContextFile);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            // Only a convenience: without it the default directory is used, and an error there says so.
            return null;
        }
    }

    /// <summary>Replaces the file as a whole, so that a reader sees the old one or the new one.</summary>
    public void Write(Surroundings around)
    {
        var path = PathOf(around);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var partial = $"{path}.{Environment.ProcessId}";
        File.WriteAllBytes(partial, JsonSerializer.SerializeToUtf8Bytes(this, CliJson.Default.ContextFile));
        File.Move(partial, path, overwrite: true);
    }
}
