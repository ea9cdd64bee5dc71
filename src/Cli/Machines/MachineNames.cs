using Ravel.Cli.Errors;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>Finds the machine that a person means: by id, by name, or by a prefix of its id that no other has.</summary>
internal static class MachineNames
{
    private const int ShownCandidates = 5;

    /// <summary>Resolves against the machines of a namespace, whatever their app.</summary>
    /// <exception cref="CliException">None, or several.</exception>
    public static Machine Resolve(string text, IReadOnlyList<Machine> machines)
    {
        if (text.Length == 0)
            throw CliException.Usage("machine", "the name is empty", "see: ravel ps -a");
        if (machines.FirstOrDefault(machine => machine.Id.Value == text) is { } exact)
            return exact;

        // app/name tells apart machines of the same name in two apps.
        var named = machines.Where(machine => machine.Name == text || $"{machine.App}/{machine.Name}" == text).ToList();
        var found = named.Count > 0 ? named : [.. machines.Where(machine => machine.Id.Value.StartsWith(text, StringComparison.Ordinal))];
        return found.Count switch
        {
            1 => found[0],
            0 => throw new CliException(text, "no machine has this name or id", "see: ravel ps -a"),
            _ => throw new CliException(text, $"several machines match: {Candidates(found)}", "give more of the id, or APP/NAME"),
        };
    }

    public static async Task<Machine> ResolveAsync(this Session session, string text) =>
        Resolve(text, await session.Api.ListMachinesAsync(session.Cancelled));

    private static string Candidates(List<Machine> machines)
    {
        var shown = machines.Take(ShownCandidates).Select(machine => $"{machine.Id} ({machine.App}/{machine.Name})");
        var more = machines.Count - ShownCandidates;
        return string.Join(", ", shown) + (more > 0 ? $" and {more} more" : "");
    }
}
