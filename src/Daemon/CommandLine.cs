using System.Diagnostics.CodeAnalysis;

namespace Ravel.Daemon;

/// <summary>The options of a command: what was written, over the environment. <c>--hub-listen</c> is <c>RAVEL_HUB_LISTEN</c> there.</summary>
internal sealed class CommandLine
{
    private readonly Dictionary<string, List<string>> _values;
    private readonly Func<string, string?> _environment;

    private CommandLine(Dictionary<string, List<string>> values, Func<string, string?> environment) => (_values, _environment) = (values, environment);

    /// <summary>What is in <paramref name="args"/> and not among <paramref name="names"/> is refused.</summary>
    public static bool TryRead(
        string command,
        IReadOnlyList<string> args,
        IReadOnlyCollection<string> names,
        Func<string, string?> environment,
        [NotNullWhen(true)] out CommandLine? line,
        [NotNullWhen(false)] out string? error)
    {
        line = null;
        var values = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        for (var i = 0; i < args.Count; i++)
        {
            var (name, value) = args[i].Split('=', 2) is [var left, var right] ? (left, right) : (args[i], null);
            if (!names.Contains(name))
            {
                error = $"{command}: '{args[i]}' is not an option; see raveld --help";
                return false;
            }
            value ??= i + 1 < args.Count ? args[++i] : null;
            if (string.IsNullOrEmpty(value))
            {
                error = $"{command}: {name} needs a value";
                return false;
            }
            if (!values.TryGetValue(name, out var all))
                values[name] = all = [];
            all.Add(value);
        }
        line = new CommandLine(values, environment);
        error = null;
        return true;
    }

    /// <summary>The last one said; null when nobody did.</summary>
    public string? Value(string name) =>
        _values.TryGetValue(name, out var values) ? values[^1]
        : _environment("RAVEL_" + name.TrimStart('-').Replace('-', '_').ToUpperInvariant()) is { Length: > 0 } set ? set
        : null;

    /// <summary>All that were said on the command line.</summary>
    public IReadOnlyList<string> Values(string name) => _values.TryGetValue(name, out var values) ? values : [];
}
