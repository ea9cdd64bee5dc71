using System.Diagnostics.CodeAnalysis;
using System.Net;
using Ravel.ControlPlane.Storage;

namespace Ravel.Daemon;

/// <summary>The settings of <c>raveld server</c>.</summary>
internal sealed record ServerCommandOptions
{
    public const string DefaultHubListen = "0.0.0.0:7718";

    public static readonly string[] Names = ["--data", "--database", "--listen", "--hub-listen", "--advertise", "--cluster-key"];

    public required string DataDirectory { get; init; }

    public required DatabaseAddress Database { get; init; }

    /// <summary>Of the API.</summary>
    public required IPEndPoint Listen { get; init; }

    /// <summary>Of the hub.</summary>
    public required IPEndPoint HubListen { get; init; }

    /// <summary>Where nodes reach the hub; null: found out.</summary>
    public string? Advertise { get; init; }

    /// <summary>A file with the secret that seals the authority's key.</summary>
    public string? ClusterKeyFile { get; init; }

    public static bool TryParse(
        IReadOnlyList<string> args,
        SettingSources sources,
        [NotNullWhen(true)] out ServerCommandOptions? options,
        [NotNullWhen(false)] out string? error)
    {
        options = null;
        if (!CommandLine.TryRead("server", args, Names, sources, out var line, out error))
            return false;
        var data = Path.GetFullPath(line.Value("--data") ?? RunOptions.DefaultData);
        var listenText = line.Value("--listen") ?? RunOptions.DefaultListen;
        var hubText = line.Value("--hub-listen") ?? DefaultHubListen;
        if (!Addresses.TryParse(listenText, out var listen))
        {
            error = $"raveld server: --listen {listenText} is not ADDRESS:PORT, such as {RunOptions.DefaultListen}";
            return false;
        }
        if (!Addresses.TryParse(hubText, out var hub))
        {
            error = $"raveld server: --hub-listen {hubText} is not ADDRESS:PORT, such as {DefaultHubListen}";
            return false;
        }
        if (line.Value("--advertise") is { } advertise && Addresses.TryParseHub(advertise) is null)
        {
            error = $"raveld server: --advertise {advertise} is not https://ADDRESS:PORT, such as https://10.0.0.1:7718";
            return false;
        }
        var database = DatabaseAddress.Sqlite(Path.Combine(data, "server.db"));
        if (line.Value("--database") is { } text && !DatabaseAddress.TryParse(text, out database, out var reason))
        {
            error = $"raveld server: --database: {reason}";
            return false;
        }
        options = new ServerCommandOptions
        {
            DataDirectory = data,
            Database = database!,
            Listen = listen,
            HubListen = hub,
            Advertise = line.Value("--advertise")?.TrimEnd('/'),
            ClusterKeyFile = line.Value("--cluster-key"),
        };
        error = null;
        return true;
    }
}
