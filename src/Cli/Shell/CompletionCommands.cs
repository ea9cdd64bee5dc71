using System.CommandLine;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;

namespace Ravel.Cli.Shell;

/// <summary><c>completion SHELL</c>, which prints a script, and the hidden <c>__complete</c>, which the scripts call.</summary>
internal static class CompletionCommands
{
    /// <summary>What the scripts call.</summary>
    public const string Hook = "__complete";

    public static CliCommand Script()
    {
        var shell = new Argument<string>("SHELL");
        shell.CompletionSources.Add("bash", "zsh", "fish");
        var command = new CliCommand("completion", "Print a script that completes commands, options, machines and images")
        {
            Usage = "bash|zsh|fish",
            Examples =
            [
                "source <(ravel completion bash)",
                "ravel completion bash > /etc/bash_completion.d/ravel",
                "ravel completion zsh > \"${fpath[1]}/_ravel\"",
                "ravel completion fish > ~/.config/fish/completions/ravel.fish",
            ],
            Run = session =>
            {
                session.Terminal.Out.Write(session.Get(shell) switch
                {
                    "bash" => CompletionScripts.Bash,
                    "zsh" => CompletionScripts.Zsh,
                    "fish" => CompletionScripts.Fish,
                    var other => throw Errors.CliException.Usage("completion", $"'{other}' is not a shell with a script here", "write bash, zsh or fish"),
                });
                return Task.FromResult(0);
            },
        };
        command.Arguments.Add(shell);
        return command;
    }

    /// <summary>A hidden command so that <c>__complete</c> is known; <see cref="Complete"/> runs before anything is parsed.</summary>
    public static CliCommand HookCommand() => new(Hook, "Complete a command line (for the completion scripts)") { Hidden = true };

    /// <summary>
    /// Prints the candidates for the last of <paramref name="words"/>, one a line, a tab and a remark after it. The words are
    /// those after <c>ravel</c> up to the cursor; the last may be empty.
    /// </summary>
    public static void Complete(CliCommand root, IReadOnlyList<string> words, Terminal terminal)
    {
        var current = words.Count == 0 ? "" : words[^1];
        IReadOnlyList<string> before = words.Count == 0 ? [] : [.. words.Take(words.Count - 1)];
        foreach (var (text, remark) in Candidates(root, before, current))
            terminal.Out.WriteLine(remark.Length == 0 ? SafeText.Of(text) : $"{SafeText.Of(text)}\t{SafeText.Of(remark)}");
    }

    public static IEnumerable<(string Text, string Remark)> Candidates(CliCommand root, IReadOnlyList<string> before, string current)
    {
        var place = CompletionPlace.Find(root, before);
        if (place.IsGuests)
            return [];
        var context = root.Parse([.. before]).GetCompletionContext();
        if (place.Option is { } option)
            return From(option.GetCompletions(context), current);
        if (current.StartsWith('-'))
        {
            return place.Command.AllOptions()
                .Where(known => !known.Hidden)
                .SelectMany(known => known.Aliases.Append(known.Name).Select(name => (name, known.Description ?? "")))
                .Where(known => known.name.StartsWith(current, StringComparison.Ordinal))
                .OrderBy(known => known.name.TrimStart('-'), StringComparer.Ordinal);
        }
        if (place.Command.Subcommands.Count > 0)
        {
            return place.Command.Subcommands
                .Where(child => !child.Hidden && child.Name.StartsWith(current, StringComparison.Ordinal))
                .Select(child => (child.Name, child.Description ?? ""))
                .OrderBy(child => child.Name, StringComparer.Ordinal);
        }
        var arguments = place.Command.Arguments;
        if (arguments.Count == 0)
            return [];
        var argument = arguments[Math.Min(place.Operands, arguments.Count - 1)];
        if (place.Operands >= arguments.Count && argument.Arity.MaximumNumberOfValues <= 1)
            return [];
        return From(argument.CompletionSources.SelectMany(source => source(context)), current);
    }

    private static IEnumerable<(string, string)> From(IEnumerable<System.CommandLine.Completions.CompletionItem> items, string current) =>
        items
            .Select(item => (item.InsertText ?? item.Label, item.Detail ?? ""))
            .Where(item => item.Item1.StartsWith(current, StringComparison.Ordinal))
            .Distinct()
            .OrderBy(item => item.Item1, StringComparer.Ordinal);
}
