using System.CommandLine;

namespace Ravel.Cli.Parsing;

/// <summary>Options that every command takes, before or after its name.</summary>
internal static class GlobalOptions
{
    public static readonly Option<string?> Data = Recursive(CliOptions.Text("--data", "DIR", "Data directory of the daemon [env: RAVEL_DATA]"));

    public static readonly Option<string?> Server = Recursive(CliOptions.Text("--server", "URL", "Address of the API [env: RAVEL_SERVER]"));

    public static readonly Option<string?> Token = Recursive(CliOptions.Text("--token", "TOKEN", "Token for the API [env: RAVEL_TOKEN]"));

    public static readonly Option<string?> Namespace = Recursive(CliOptions.Text("--namespace", "NAME", "Namespace, for an administrator's token"));

    public static readonly Option<bool> Json = Recursive(CliOptions.Flag("--json", "Print JSON: one document, or a line each for streams"));

    public static readonly Option<bool> Help = Recursive(CliOptions.Flag("--help", "Show this help", "-h"));

    public static IReadOnlyList<Option> All { get; } = [Data, Server, Token, Namespace, Json, Help];

    private static Option<T> Recursive<T>(Option<T> option)
    {
        option.Recursive = true;
        return option;
    }
}
