using System.CommandLine;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Nodes;

/// <summary><c>ravel node join-token</c>.</summary>
internal static class JoinTokenCommand
{
    public static CliCommand Create()
    {
        var expires = new Option<int?>("--expires") { HelpName = "SECONDS", Description = "Seconds for which it can be used (default 3600)" };
        var node = new Option<string?>("--node") { HelpName = "ID", Description = "For a node that lost its key, instead of a new host" };
        var command = new CliCommand("join-token", "Print the command with which one new host joins, once")
        {
            Usage = "[OPTIONS]",
            Examples = ["ravel node join-token", "ssh host4 \"$(ravel node join-token)\"", "ravel node join-token --json | jq -r .token"],
            Run = async session =>
            {
                var token = await session.Api.CreateJoinTokenAsync(
                    new CreateJoinTokenRequest(session.Get(expires), session.Get(node)), session.Cancelled);
                if (session.Json)
                    JsonOutput.Document(session.Terminal, token);
                else
                    session.Terminal.Out.WriteLine(SafeText.Of(token.Command));
                return 0;
            },
        };
        command.Options.Add(expires);
        command.Options.Add(node);
        return command;
    }
}
