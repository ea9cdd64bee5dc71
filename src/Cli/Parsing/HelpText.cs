using System.CommandLine;
using Ravel.Cli.Output;

namespace Ravel.Cli.Parsing;

/// <summary>The help of a command: what it does, how it is called, examples to copy, its options.</summary>
internal static class HelpText
{
    public static void Write(CliCommand command, Terminal terminal)
    {
        var to = terminal.Out;
        to.WriteLine(command.Description);
        to.WriteLine();
        to.WriteLine($"{terminal.Bold("Usage:")}  {command.Path} {(command.Subcommands.Count > 0 ? "COMMAND" : command.Usage)}".TrimEnd());

        if (command.Examples.Count > 0)
        {
            Section(terminal, "Examples:");
            foreach (var example in command.Examples)
                to.WriteLine($"  {example}");
        }
        var subcommands = command.Subcommands.Where(child => !child.Hidden).ToList();
        if (subcommands.Count > 0)
        {
            Section(terminal, "Commands:");
            Columns(to, subcommands.Select(child => (child.Name, child.Description ?? "")));
        }
        var own = command.Options.Where(option => !option.Hidden && !option.Recursive).ToList();
        if (own.Count > 0)
        {
            Section(terminal, "Options:");
            Columns(to, own.Select(Row));
        }
        Section(terminal, "Options of every command:");
        Columns(to, GlobalOptions.All.Select(Row));
        if (subcommands.Count > 0)
        {
            to.WriteLine();
            to.WriteLine($"More on a command: {command.Path} COMMAND --help");
        }
    }

    private static void Section(Terminal terminal, string title)
    {
        terminal.Out.WriteLine();
        terminal.Out.WriteLine(terminal.Bold(title));
    }

    private static (string, string) Row(Option option)
    {
        var names = option.Aliases.Append(option.Name).OrderBy(name => name.Length).ToList();
        var shown = names[0].Length == 2 ? string.Join(", ", names) : $"    {string.Join(", ", names)}";
        return (option.Arity.MaximumNumberOfValues > 0 ? $"{shown} {option.HelpName}" : shown, option.Description ?? "");
    }

    private static void Columns(TextWriter to, IEnumerable<(string Left, string Right)> rows)
    {
        var list = rows.ToList();
        var width = list.Max(row => row.Left.Length);
        foreach (var (left, right) in list)
            to.WriteLine($"  {left.PadRight(width)}  {right}".TrimEnd());
    }
}
