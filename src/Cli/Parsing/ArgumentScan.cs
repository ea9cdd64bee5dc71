using System.CommandLine;
using Ravel.Cli.Errors;

namespace Ravel.Cli.Parsing;

/// <summary>
/// Walks the arguments before System.CommandLine parses them, for three things that it does not do: an unknown
/// option is refused instead of becoming an operand, an unknown command is answered with the one that was meant, and where a
/// guest's command follows (<c>run IMAGE ls -l -- x</c>) a <c>--</c> is put before the first operand, so that all after it
/// arrives as it was typed.
/// </summary>
internal static class ArgumentScan
{
    /// <returns>The arguments to parse.</returns>
    /// <exception cref="CliException">An unknown option or command; exit code 2.</exception>
    public static IReadOnlyList<string> Prepare(CliCommand root, IReadOnlyList<string> arguments)
    {
        var command = root;
        for (var i = 0; i < arguments.Count; i++)
        {
            var token = arguments[i];
            if (token == "--")
                return arguments;
            if (token.Length > 1 && token[0] == '-')
            {
                if (TakesNext(command, token))
                    i++;
                continue;
            }
            if (command.Subcommands.Count > 0)
            {
                command = command.FindSubcommand(token) ?? throw UnknownCommand(command, token);
                continue;
            }
            if (command.PassesThrough)
                return [.. arguments.Take(i), "--", .. arguments.Skip(i)];
        }
        return arguments;
    }

    /// <summary>The command that the arguments name, as far as they do.</summary>
    public static CliCommand Target(CliCommand root, IReadOnlyList<string> arguments)
    {
        var command = root;
        foreach (var token in arguments)
        {
            if (command.FindSubcommand(token) is { } next)
                command = next;
        }
        return command;
    }

    private static bool TakesNext(CliCommand command, string token)
    {
        if (token.StartsWith("--", StringComparison.Ordinal))
        {
            var equals = token.IndexOf('=');
            var option = command.FindOption(equals < 0 ? token : token[..equals]) ?? throw UnknownOption(command, token);
            return equals < 0 && TakesValue(option);
        }
        // -dit, -e K=V, -eK=V, -p8080:80: flags until the first option that takes a value, which gets the rest.
        for (var i = 1; i < token.Length; i++)
        {
            var option = command.FindOption($"-{token[i]}") ?? throw UnknownOption(command, token);
            if (TakesValue(option))
                return i == token.Length - 1;
            if (i + 1 < token.Length && token[i + 1] is '=' or ':')
                return false;
        }
        return false;
    }

    private static bool TakesValue(Option option) => option.Arity.MaximumNumberOfValues > 0;

    private static CliException UnknownOption(CliCommand command, string token) =>
        CliException.Usage(command.Subject, $"unknown option {token}", $"see: {command.Path} --help");

    private static CliException UnknownCommand(CliCommand parent, string token)
    {
        var nearest = parent.Subcommands
            .Where(command => !command.Hidden)
            .Select(command => (command.Name, Distance: Distance(token, command.Name)))
            .Where(candidate => candidate.Distance <= Math.Max(1, Math.Min(token.Length, candidate.Name.Length) / 3))
            .OrderBy(candidate => candidate.Distance)
            .Select(candidate => candidate.Name)
            .FirstOrDefault();
        return CliException.Usage(
            token, $"is no command of {parent.Path}", nearest is null ? $"see: {parent.Path} --help" : $"did you mean: {parent.Path} {nearest}");
    }

    /// <summary>Levenshtein's distance, with two letters swapped as one mistake (optimal string alignment).</summary>
    private static int Distance(string a, string b)
    {
        var cost = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
        {
            for (var j = 0; j <= b.Length; j++)
            {
                if (i == 0 || j == 0)
                {
                    cost[i, j] = i + j;
                    continue;
                }
                var swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] ? cost[i - 2, j - 2] + 1 : int.MaxValue;
                cost[i, j] = Math.Min(
                    Math.Min(Math.Min(cost[i - 1, j], cost[i, j - 1]) + 1, swap),
                    cost[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
            }
        }
        return cost[a.Length, b.Length];
    }
}
