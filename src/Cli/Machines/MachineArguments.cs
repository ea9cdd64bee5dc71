using System.CommandLine;
using Ravel.Cli.Shell;

namespace Ravel.Cli.Machines;

/// <summary>Operands that name machines, and complete their names.</summary>
internal static class MachineArguments
{
    public static Argument<string> One()
    {
        var argument = new Argument<string>("MACHINE") { Description = "Id, unique prefix of an id, or name" };
        argument.CompletionSources.Add(Completions.Machines);
        return argument;
    }

    public static Argument<string[]> Many()
    {
        var argument = new Argument<string[]>("MACHINE") { Description = "Ids, unique prefixes of ids, or names", Arity = ArgumentArity.OneOrMore };
        argument.CompletionSources.Add(Completions.Machines);
        return argument;
    }
}
