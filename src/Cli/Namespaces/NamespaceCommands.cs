using System.CommandLine;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;

namespace Ravel.Cli.Namespaces;

/// <summary><c>ravel namespace …</c>.</summary>
internal static class NamespaceCommands
{
    public static CliCommand Create()
    {
        var group = new CliCommand("namespace", "List, create and remove namespaces (tenants)")
        {
            Examples = ["ravel namespace create team-a", "ravel --namespace team-a ps"],
        };
        group.Subcommands.Add(List());
        group.Subcommands.Add(Create("create", "Create a namespace", async (session, name) =>
        {
            var made = await session.Api.CreateNamespaceAsync(name, session.Cancelled);
            if (session.Json)
                JsonOutput.Document(session.Terminal, made);
            else
                session.Terminal.Out.WriteLine(made.Name);
        }));
        group.Subcommands.Add(Create("rm", "Remove an empty namespace and its tokens", async (session, name) =>
        {
            await session.Api.DeleteNamespaceAsync(name, session.Cancelled);
            if (session.Json)
                JsonOutput.Document(session.Terminal, new RemovedNamespace(name));
            else
                session.Terminal.Out.WriteLine(name);
        }));
        return group;
    }

    private static CliCommand List() => new("ls", "List namespaces")
    {
        Examples = ["ravel namespace ls"],
        Run = async session =>
        {
            var list = await session.Api.ListNamespacesAsync(session.Cancelled);
            if (session.Json)
            {
                JsonOutput.Document(session.Terminal, list);
                return 0;
            }
            var table = new Table("NAME", "CREATED");
            foreach (var item in list.Namespaces)
                table.Add(item.Name, Humane.Ago(item.CreatedAt, session.Time.GetUtcNow()));
            table.Write(session.Terminal);
            return 0;
        },
    };

    private static CliCommand Create(string verb, string description, Func<Session, string, Task> act)
    {
        var name = new Argument<string>("NAME");
        var command = new CliCommand(verb, description)
        {
            Usage = "NAME",
            Examples = [$"ravel namespace {verb} team-a"],
            Run = async session =>
            {
                await act(session, session.Get(name));
                return 0;
            },
        };
        command.Arguments.Add(name);
        return command;
    }
}
