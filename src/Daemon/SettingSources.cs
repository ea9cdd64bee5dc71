using System.Diagnostics.CodeAnalysis;

namespace Ravel.Daemon;

/// <summary>Where settings come from that are not on the command line: the environment, then the settings file.</summary>
/// <param name="Environment">A variable, or null.</param>
/// <param name="File">The file.</param>
internal sealed record SettingSources(Func<string, string?> Environment, SettingsFile File)
{
    private const string Option = "--config";

    /// <summary>Reads the file that <c>--config</c> names, else <c>RAVEL_CONFIG</c>, else the default one if it is there.</summary>
    /// <param name="args">All arguments of a command.</param>
    /// <param name="sources">What there is.</param>
    /// <param name="rest">The arguments without <c>--config</c>.</param>
    /// <param name="error">One line.</param>
    public static bool TryLoad(
        IReadOnlyList<string> args,
        [NotNullWhen(true)] out SettingSources? sources,
        out string[] rest,
        [NotNullWhen(false)] out string? error)
    {
        sources = null;
        string? path = null;
        var others = new List<string>();
        for (var i = 0; i < args.Count; i++)
        {
            if (args[i] == Option && i + 1 < args.Count)
                path = args[++i];
            else if (args[i].StartsWith(Option + "=", StringComparison.Ordinal))
                path = args[i][(Option.Length + 1)..];
            else
                others.Add(args[i]);
        }
        rest = [.. others];
        if (!SettingsFile.TryLoad(path ?? System.Environment.GetEnvironmentVariable(SettingsFile.Variable), out var file, out error))
            return false;
        sources = new SettingSources(System.Environment.GetEnvironmentVariable, file);
        return true;
    }
}
