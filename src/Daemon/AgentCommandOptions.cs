using System.Diagnostics.CodeAnalysis;
using System.Net;
using Ravel.Agent.Joining;
using Ravel.Trust;

namespace Ravel.Daemon;

/// <summary>The settings of <c>raveld agent</c>.</summary>
internal sealed record AgentCommandOptions
{
    public const string DefaultListen = "0.0.0.0:7719";

    private const int MaxLabels = 64;
    private const int MaxText = 255;

    public static readonly string[] Names = [.. RunOptions.HostNames, "--join", "--token", "--listen", "--advertise", "--region", "--zone", "--label"];

    public static bool MayRepeat(string option) => option == "--label";

    /// <summary>What it has in common with <c>raveld run</c>.</summary>
    public required RunOptions Host { get; init; }

    public required ClusterOptions Cluster { get; init; }

    /// <summary>Where the node serves.</summary>
    public required IPEndPoint Listen { get; init; }

    /// <summary>Where servers reach it; null: found out.</summary>
    public string? Advertise { get; init; }

    public string Region { get; init; } = "";

    public string Zone { get; init; } = "";

    public required IReadOnlyDictionary<string, string> Labels { get; init; }

    public static bool TryParse(
        IReadOnlyList<string> args,
        SettingSources sources,
        [NotNullWhen(true)] out AgentCommandOptions? options,
        [NotNullWhen(false)] out string? error)
    {
        options = null;
        if (args.Any(arg => arg.Split('=')[0] == "--database"))
        {
            error = "raveld agent: --database is a server's; a node keeps its own journal";
            return false;
        }
        if (!CommandLine.TryRead("agent", args, Names, sources, out var line, out error) || !RunOptions.TryRead(line, out var host, out error))
            return false;

        Uri? join = null;
        if (line.Value("--join") is { } joinText && (join = Addresses.TryParseHub(joinText)) is null)
        {
            error = $"raveld agent: --join {joinText} is not https://ADDRESS:PORT, such as https://10.0.0.1:7718";
            return false;
        }
        JoinToken? token = null;
        if (line.Value("--token") is { } tokenText && !JoinToken.TryParse(tokenText, out token))
        {
            error = "raveld agent: --token is not a join token; take the one that 'ravel node join-token' prints";
            return false;
        }
        var listenText = line.Value("--listen") ?? DefaultListen;
        if (!Addresses.TryParse(listenText, out var listen))
        {
            error = $"raveld agent: --listen {listenText} is not ADDRESS:PORT, such as {DefaultListen}";
            return false;
        }
        if (line.Value("--advertise") is { } advertise && Addresses.TryParseHub(advertise) is null)
        {
            error = $"raveld agent: --advertise {advertise} is not https://ADDRESS:PORT, such as https://10.0.0.2:7719";
            return false;
        }
        var labels = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var label in line.Values("--label"))
        {
            if (label.Split('=', 2) is not [{ Length: > 0 and <= MaxText } name, { Length: <= MaxText } value] || labels.Count == MaxLabels)
            {
                error = $"raveld agent: --label {label} is not NAME=VALUE with at most {MaxText} characters each, or there are more than {MaxLabels}";
                return false;
            }
            labels[name] = value;
        }
        var (region, zone) = (line.Value("--region") ?? "", line.Value("--zone") ?? "");
        if (region.Length > MaxText || zone.Length > MaxText)
        {
            error = $"raveld agent: --region and --zone have at most {MaxText} characters";
            return false;
        }
        options = new AgentCommandOptions
        {
            Host = host,
            Cluster = new ClusterOptions { Join = join, Token = token },
            Listen = listen,
            Advertise = line.Value("--advertise")?.TrimEnd('/'),
            Region = region,
            Zone = zone,
            Labels = labels,
        };
        error = null;
        return true;
    }
}
