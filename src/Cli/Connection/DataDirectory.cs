using System.Text.Json;
using Ravel.Cli.Errors;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

/// <summary>Where a daemon keeps its things, and which of several daemons is meant.</summary>
internal static class DataDirectory
{
    public const string ClientFileName = "client.json";
    public const string LogFileName = "raveld.log";

    /// <summary><c>/var/lib/ravel</c> for root, <c>~/.local/share/ravel</c> (XDG) otherwise.</summary>
    public static string Default(Surroundings around) => around.IsRoot
        ? "/var/lib/ravel"
        : Path.Combine(around.Setting("XDG_DATA_HOME") ?? Path.Combine(around.Home, ".local", "share"), "ravel");

    /// <summary>For <c>up</c>: what was asked for, else the default.</summary>
    public static string ForUp(string? option, Surroundings around) =>
        Path.GetFullPath(option ?? around.Setting("RAVEL_DATA") ?? Default(around));

    /// <summary>For everything else: what was asked for, else where the last <c>up</c> was, else the default.</summary>
    public static string ForUse(string? option, Surroundings around) =>
        Path.GetFullPath(option ?? around.Setting("RAVEL_DATA") ?? ContextFile.Read(around)?.DataDirectory ?? Default(around));

    /// <summary>The daemon's own <c>client.json</c>; null when there is none, or none that can be read as one.</summary>
    /// <exception cref="CliException">There is one that the caller may not read.</exception>
    public static ClientConfig? ReadClient(string directory)
    {
        var path = Path.Combine(directory, ClientFileName);
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), ApiJson.Default.ClientConfig);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException or JsonException)
        {
            return null;
        }
        catch (UnauthorizedAccessException)
        {
            throw new CliException(path, "may not be read", "run as the user who ran `ravel up`, or give --server and --token");
        }
    }
}
