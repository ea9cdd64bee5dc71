using System.CommandLine;
using Ravel.Cli.Errors;
using Ravel.Cli.Parsing;
using Ravel.Cli.Processes;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary><c>ravel exec</c>.</summary>
internal static class ExecCommand
{
    public static CliCommand Create()
    {
        var name = MachineArguments.One();
        var words = new Argument<string[]>("COMMAND") { Arity = ArgumentArity.ZeroOrMore };
        var env = CliOptions.Texts("--env", "KEY[=VALUE]", "Set a variable, or pass on your own", "-e");
        var interactive = CliOptions.Flag("--interactive", "Give it your standard input", "-i");
        var tty = CliOptions.Flag("--tty", "Give it a terminal", "-t");
        var user = CliOptions.Text("--user", "USER[:GROUP]", "Run as this user", "-u");
        var directory = CliOptions.Text("--workdir", "DIR", "Run in this directory", "-w");
        var command = new CliCommand("exec", "Run a command in a running machine")
        {
            Usage = "[OPTIONS] MACHINE COMMAND [ARG...]",
            Examples =
            [
                "ravel exec web nginx -s reload",
                "ravel exec -it web sh                        # a shell",
                "echo 'select 1' | ravel exec -i db psql      # input from a pipe",
            ],
            PassesThrough = true,
            RunsWorkload = true,
            Run = async session =>
            {
                if (session.Get(words) is not { Length: > 0 } argv)
                    throw CliException.Usage("exec", "no command given", "e.g.: ravel exec -it MACHINE sh");
                RawTerminal.Require("exec", session.Get(interactive), session.Get(tty), "leave out -t");
                var machine = await session.ResolveAsync(session.Get(name));
                var size = session.Get(tty) ? await RawTerminal.SizeAsync(session.Cancelled) : null;
                var request = new ExecRequest
                {
                    Command = argv,
                    Env = VariableOptions.Read([], session.Get(env)!, session.Around.Variable),
                    User = session.Get(user),
                    WorkingDir = session.Get(directory),
                    Tty = session.Get(tty),
                    Columns = size?.Columns,
                    Rows = size?.Rows,
                    AttachStdin = session.Get(interactive),
                    // Only the call without a WebSocket is limited; a shell stays open as long as it likes.
                    Timeout = 0,
                };
                return await new ExecSession(session, machine, request).RunAsync();
            },
        };
        foreach (var option in new Option[] { env, interactive, tty, user, directory })
            command.Options.Add(option);
        command.Arguments.Add(name);
        command.Arguments.Add(words);
        return command;
    }
}
