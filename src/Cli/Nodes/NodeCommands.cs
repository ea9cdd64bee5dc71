using System.CommandLine;
using System.Globalization;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Nodes;

/// <summary><c>ravel node …</c>.</summary>
internal static class NodeCommands
{
    public static CliCommand Create()
    {
        var group = new CliCommand("node", "List and look after the hosts that machines run on")
        {
            Examples = ["ravel node ls", "ravel node cordon 01J9Z"],
        };
        group.Subcommands.Add(List());
        group.Subcommands.Add(ForOne("inspect", "Show all there is to know of a node", (session, id) => session.Api.GetNodeAsync(id, session.Cancelled), showsAll: true));
        group.Subcommands.Add(ForOne("cordon", "Place nothing new on a node; what runs there runs on", (session, id) => session.Api.CordonNodeAsync(id, true, session.Cancelled)));
        group.Subcommands.Add(ForOne("uncordon", "Place machines on a node again", (session, id) => session.Api.CordonNodeAsync(id, false, session.Cancelled)));
        group.Subcommands.Add(ForOne("rm", "Forget a node that is gone and has no machines", async (session, id) =>
        {
            var node = await session.Api.GetNodeAsync(id, session.Cancelled);
            await session.Api.RemoveNodeAsync(id, session.Cancelled);
            return node;
        }));
        group.Subcommands.Add(JoinTokenCommand.Create());
        return group;
    }

    private static CliCommand List() => new("ls", "List nodes")
    {
        Examples = ["ravel node ls", "ravel node ls --json"],
        Run = async session =>
        {
            var nodes = await session.Api.ListNodesAsync(session.Cancelled);
            if (session.Json)
            {
                JsonOutput.Document(session.Terminal, nodes);
                return 0;
            }
            var table = new Table("ID", "STATE", "MACHINES", "CPUS", "MEMORY", "VMM", "SEEN");
            foreach (var node in nodes)
            {
                table.Add(
                    node.Id,
                    new Cell(node.State, node.State == NodeStates.Ready ? Colour.Good : Colour.Warning),
                    node.MachineCount.ToString(CultureInfo.InvariantCulture),
                    Share(node, resources => resources.Cpus.ToString(CultureInfo.InvariantCulture)),
                    Share(node, resources => Humane.Bytes(resources.MemoryMb << 20)),
                    $"{node.Vmm} {node.VmmVersion}",
                    Humane.Ago(node.SeenAt, session.Time.GetUtcNow()));
            }
            table.Write(session.Terminal);
            return 0;
        },
    };

    private static string Share(Node node, Func<NodeResources, string> show) =>
        node is { Allocated: { } allocated, Capacity: { } capacity } ? $"{show(allocated)} / {show(capacity)}" : "-";

    private static CliCommand ForOne(string verb, string description, Func<Session, string, Task<Node>> act, bool showsAll = false)
    {
        var id = new Argument<string>("NODE");
        var command = new CliCommand(verb, description)
        {
            Usage = "NODE",
            Examples = [$"ravel node {verb} 01J9Z"],
            Run = async session =>
            {
                var node = await act(session, await FindAsync(session, session.Get(id)));
                if (session.Json || showsAll)
                    JsonOutput.Document(session.Terminal, node);
                else
                    session.Terminal.Out.WriteLine(node.Id);
                return 0;
            },
        };
        command.Arguments.Add(id);
        return command;
    }

    /// <summary>By its id or a unique prefix of it.</summary>
    private static async Task<string> FindAsync(Session session, string text)
    {
        var nodes = await session.Api.ListNodesAsync(session.Cancelled);
        if (nodes.Any(node => node.Id == text))
            return text;
        return nodes.Where(node => node.Id.StartsWith(text, StringComparison.OrdinalIgnoreCase)).ToList() switch
        {
            [var only] => only.Id,
            [] => throw CliException.Usage(text, "is no node", "see: ravel node ls"),
            var several => throw CliException.Usage(text, $"may be {string.Join(", ", several.Select(node => node.Id))}", "write more of it"),
        };
    }
}
