using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Tomlyn;
using Tomlyn.Model;
using Tomlyn.Parsing;

namespace Ravel.Daemon;

/// <summary>
/// <c>/etc/ravel/ravel.toml</c>: values of options under their own names, at the top for all commands that have them and in <c>[run]</c>,
/// <c>[server]</c> and <c>[agent]</c> for one, which counts more. What it says wrong is refused, never passed over: a misspelt
/// <c>cluster-key</c> should not be found out by who reads the database.
/// </summary>
internal sealed class SettingsFile
{
    public const string DefaultPath = "/etc/ravel/ravel.toml";

    /// <summary>Environment variable that names another file.</summary>
    public const string Variable = "RAVEL_CONFIG";

    private const int MaxBytes = 1 << 20;

    private static readonly Dictionary<string, IReadOnlyCollection<string>> Commands = new(StringComparer.Ordinal)
    {
        ["run"] = RunOptions.Names,
        ["server"] = ServerCommandOptions.Names,
        ["agent"] = AgentCommandOptions.Names,
    };

    private readonly Dictionary<(string Command, string Option), IReadOnlyList<string>> _values = [];

    private SettingsFile()
    {
    }

    public static SettingsFile Empty { get; } = new();

    /// <param name="path">Named by the operator, who wants it read; null for the default one, which need not be there.</param>
    /// <param name="file">What it says.</param>
    /// <param name="error">One line that names file and entry.</param>
    public static bool TryLoad(string? path, [NotNullWhen(true)] out SettingsFile? file, [NotNullWhen(false)] out string? error)
    {
        (file, error) = (Empty, null);
        if (string.IsNullOrEmpty(path) && !File.Exists(DefaultPath))
            return true;
        path = string.IsNullOrEmpty(path) ? DefaultPath : path;
        try
        {
            using var stream = File.OpenRead(path);
            if (stream.Length <= MaxBytes)
            {
                using var reader = new StreamReader(stream);
                return TryParse(reader.ReadToEnd(), path, out file, out error);
            }
            (file, error) = (null, $"raveld: {path} is over {MaxBytes} bytes");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            (file, error) = (null, $"raveld: {path} cannot be read: {e.Message}");
        }
        return false;
    }

    /// <param name="text">TOML.</param>
    /// <param name="path">For messages.</param>
    /// <param name="file">What it says.</param>
    /// <param name="error">One line that names file and entry.</param>
    internal static bool TryParse(string text, string path, [NotNullWhen(true)] out SettingsFile? file, [NotNullWhen(false)] out string? error)
    {
        (file, error) = (null, null);
        var read = new SettingsFile();
        try
        {
            // A table takes a key that is there twice; the syntax does not.
            if (SyntaxParser.Parse(text, path, validate: true) is { HasErrors: true } document)
            {
                // Where, and not what: it may be a password.
                var place = document.Diagnostics[0].Span.Start;
                error = $"raveld: {path} is not TOML, or has a name twice: line {place.Line + 1}, column {place.Column + 1}";
                return false;
            }
            var top = TomlSerializer.Deserialize<TomlTable>(text) ?? [];
            // The whole first, so that a command's own value comes to stand over it.
            error = top.Where(entry => !Commands.ContainsKey(entry.Key)).Select(entry => read.Take(entry, [.. Commands.Keys], path)).FirstOrDefault(wrong => wrong is not null)
                ?? top.Where(entry => Commands.ContainsKey(entry.Key)).Select(entry => entry.Value is TomlTable table
                    ? table.Select(own => read.Take(own, [entry.Key], path)).FirstOrDefault(wrong => wrong is not null)
                    : $"raveld: {path}: {entry.Key} has to be a table: [{entry.Key}]").FirstOrDefault(wrong => wrong is not null);
        }
        catch (TomlException)
        {
            error = $"raveld: {path} is not TOML";
        }
        file = error is null ? read : null;
        return error is null;
    }

    /// <summary>What it says of an option of a command, such as <c>--listen</c> of <c>server</c>; empty when nothing.</summary>
    public IReadOnlyList<string> Values(string command, string option) => _values.GetValueOrDefault((command, option)) ?? [];

    /// <returns>What is wrong; null when nothing is.</returns>
    private string? Take(KeyValuePair<string, object> entry, IReadOnlyList<string> commands, string path)
    {
        var option = "--" + entry.Key;
        var having = commands.Where(command => Commands[command].Contains(option)).ToList();
        if (having.Count == 0)
            return $"raveld: {path}: {entry.Key} is not a setting{(commands is [var only] ? $" of {only}" : "")}; settings are the options of raveld --help";
        if (Texts(entry.Value) is not { } values || (values.Count != 1 && !AgentCommandOptions.MayRepeat(option)))
            return $"raveld: {path}: {entry.Key} has to be {(AgentCommandOptions.MayRepeat(option) ? "a table or a list of texts" : "a text, a number, true or false")}";
        foreach (var command in having)
            _values[(command, option)] = values;
        return null;
    }

    /// <summary>As on a command line; null when it is nothing that could stand there.</summary>
    private static List<string>? Texts(object value)
    {
        switch (value)
        {
            case TomlTable table when table.Values.All(v => Text(v) is not null):
                return [.. table.Select(pair => $"{pair.Key}={Text(pair.Value)}")];
            case TomlArray array when array.All(v => Text(v) is not null):
                return [.. array.Select(v => Text(v)!)];
            default:
                return Text(value) is { } text ? [text] : null;
        }
    }

    private static string? Text(object? value) => value switch
    {
        string text when text.Length > 0 => text,
        long number => number.ToString(CultureInfo.InvariantCulture),
        double number => number.ToString(CultureInfo.InvariantCulture),
        true => "on",
        false => "off",
        _ => null,
    };
}
