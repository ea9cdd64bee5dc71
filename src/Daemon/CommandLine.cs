using System.Diagnostics.CodeAnalysis;

namespace Ravel.Daemon;

/// <summary>
/// The settings of a command, in the one order of precedence there is: what was written on the command line, the environment, the
/// settings file; nothing of them is left to the default. <c>--hub-listen</c> is <c>RAVEL_HUB_LISTEN</c> and <c>hub-listen</c> there.
/// </summary>
internal sealed class CommandLine
{
    private readonly Dictionary<string, List<string>> _values;
    private readonly SettingSources _sources;
    private readonly string _section;

    private CommandLine(string command, string section, Dictionary<string, List<string>> values, SettingSources sources) =>
        (Command, _section, _values, _sources) = (command, section, values, sources);

    /// <summary>Its words behind <c>raveld</c>.</summary>
    public string Command { get; }

    /// <summary>What is in <paramref name="args"/> and not among <paramref name="names"/> is refused. The section of the file is the command's, unless another is named.</summary>
    public static bool TryRead(
        string command,
        IReadOnlyList<string> args,
        IReadOnlyCollection<string> names,
        SettingSources sources,
        [NotNullWhen(true)] out CommandLine? line,
        [NotNullWhen(false)] out string? error,
        string? section = null)
    {
        line = null;
        var values = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        for (var i = 0; i < args.Count; i++)
        {
            var (name, value) = args[i].Split('=', 2) is [var left, var right] ? (left, right) : (args[i], null);
            if (!names.Contains(name))
            {
                error = $"raveld {command}: '{args[i]}' is not an option; see raveld --help";
                return false;
            }
            value ??= i + 1 < args.Count ? args[++i] : null;
            if (string.IsNullOrEmpty(value))
            {
                error = $"raveld {command}: {name} needs a value";
                return false;
            }
            if (!values.TryGetValue(name, out var all))
                values[name] = all = [];
            all.Add(value);
        }
        line = new CommandLine(command, section ?? command, values, sources);
        error = null;
        return true;
    }

    /// <summary>The last one said; null when nobody did.</summary>
    public string? Value(string name) => Values(name) is [.., var last] ? last : null;

    /// <summary>All that were said where anything was.</summary>
    public IReadOnlyList<string> Values(string name) =>
        _values.TryGetValue(name, out var values) ? values
        : _sources.Environment(VariableOf(name)) is { Length: > 0 } set ? [set]
        : _sources.File.Values(_section, name);

    /// <summary>RAVEL_TOKEN is the API's.</summary>
    private static string VariableOf(string name) =>
        name == "--token" ? "RAVEL_JOIN_TOKEN" : "RAVEL_" + name.TrimStart('-').Replace('-', '_').ToUpperInvariant();
}
