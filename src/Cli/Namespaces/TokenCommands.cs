using System.CommandLine;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;

namespace Ravel.Cli.Namespaces;

/// <summary><c>ravel token …</c>.</summary>
internal static class TokenCommands
{
    public static CliCommand Create()
    {
        var group = new CliCommand("token", "List, create and revoke tokens for the API")
        {
            Examples = ["ravel --namespace team-a token create ci"],
        };
        group.Subcommands.Add(List());
        group.Subcommands.Add(Make());
        group.Subcommands.Add(Revoke());
        return group;
    }

    private static CliCommand List() => new("ls", "List tokens, without their secrets")
    {
        Examples = ["ravel token ls"],
        Run = async session =>
        {
            var tokens = await session.Api.ListTokensAsync(session.Cancelled);
            if (session.Json)
            {
                JsonOutput.Document(session.Terminal, tokens);
                return 0;
            }
            var table = new Table("ID", "NAME", "NAMESPACE", "CREATED");
            foreach (var token in tokens)
                table.Add(token.Id, token.Name, token.Namespace ?? "(administrator)", Humane.Ago(token.CreatedAt, session.Time.GetUtcNow()));
            table.Write(session.Terminal);
            return 0;
        },
    };

    private static CliCommand Make()
    {
        var name = new Argument<string>("NAME");
        var administrator = CliOptions.Flag("--administrator", "For the whole cluster instead of one namespace");
        var command = new CliCommand("create", "Create a token and print its secret, this once")
        {
            Usage = "[OPTIONS] NAME",
            Examples = ["ravel --namespace team-a token create ci", "RAVEL_TOKEN=$(ravel token create me) ravel ps"],
            Run = async session =>
            {
                var token = await session.Api.CreateTokenAsync(session.Get(name), session.Get(administrator), session.Cancelled);
                if (session.Json)
                    JsonOutput.Document(session.Terminal, token);
                else
                    session.Terminal.Out.WriteLine(token.Secret);
                return 0;
            },
        };
        command.Options.Add(administrator);
        command.Arguments.Add(name);
        return command;
    }

    private static CliCommand Revoke()
    {
        var id = new Argument<string>("ID");
        var command = new CliCommand("rm", "Revoke a token")
        {
            Usage = "ID",
            Examples = ["ravel token rm $(ravel token ls --json | jq -r '.[] | select(.name == \"ci\").id')"],
            Run = async session =>
            {
                await session.Api.DeleteTokenAsync(session.Get(id), session.Cancelled);
                if (session.Json)
                    JsonOutput.Document(session.Terminal, new RemovedToken(session.Get(id)));
                else
                    session.Terminal.Out.WriteLine(session.Get(id));
                return 0;
            },
        };
        command.Arguments.Add(id);
        return command;
    }
}
