using System.CommandLine;

namespace Ravel.Cli.Parsing;

/// <summary>A command with what its help shows and what it does. A command without <see cref="Run"/> is a group of others.</summary>
internal sealed class CliCommand : Command
{
    public CliCommand(string name, string description)
        : base(name, description)
    {
    }

    /// <summary>What follows the command's name on its usage line.</summary>
    public string Usage { get; init; } = "";

    /// <summary>Whole command lines, each perhaps with a trailing <c># remark</c>.</summary>
    public IReadOnlyList<string> Examples { get; init; } = [];

    /// <summary>Options end at the first operand; what follows belongs to the guest's command even if it begins with '-'.</summary>
    public bool PassesThrough { get; init; }

    /// <summary>The exit code is the workload's, so that Ravel's own failures have to be told from it.</summary>
    public bool RunsWorkload { get; init; }

    public Func<Session, Task<int>>? Run { get; set; }

    /// <summary>The name as typed: <c>ravel image pull</c>.</summary>
    public string Path
    {
        get
        {
            var parent = Parents.OfType<CliCommand>().FirstOrDefault();
            return parent is null ? Name : $"{parent.Path} {Name}";
        }
    }

    /// <summary>What an error is about: the command's name without <c>ravel</c>.</summary>
    public string Subject => Parents.OfType<CliCommand>().Any() ? Path[(Path.IndexOf(' ') + 1)..] : Name;

    /// <summary>Its own options, and those of its parents that hold for all below them.</summary>
    public IEnumerable<Option> AllOptions()
    {
        foreach (var option in Options)
            yield return option;
        foreach (var parent in Parents.OfType<CliCommand>())
        {
            foreach (var option in parent.AllOptions())
            {
                if (option.Recursive)
                    yield return option;
            }
        }
    }

    public Option? FindOption(string name) =>
        AllOptions().FirstOrDefault(option => option.Name == name || option.Aliases.Contains(name));

    public CliCommand? FindSubcommand(string name) =>
        Subcommands.OfType<CliCommand>().FirstOrDefault(command => command.Name == name || command.Aliases.Contains(name));
}
