using System.CommandLine;
using Ravel.Cli.Errors;
using Ravel.Cli.Parsing;
using Ravel.Cli.Processes;

namespace Ravel.Cli.Daemon;

/// <summary><c>ravel admin …</c>: run by <c>raveld</c> on the server's host, because the API of a stopped server answers nobody.</summary>
internal static class AdminCommands
{
    public static CliCommand Create()
    {
        var group = new CliCommand("admin", "Back up, restore and move the server's database, on its host")
        {
            Examples = ["ravel admin backup /backup/ravel-monday.db", "ravel admin migrate-database --to postgres://ravel@10.0.0.1/ravel"],
        };
        var database = CliOptions.Text("--database", "ADDRESS", "The server's (default that of the data directory) [env: RAVEL_DATABASE]");
        var from = CliOptions.Text("--from", "ADDRESS", "Of the server (default that of the data directory)");
        var to = CliOptions.Text("--to", "ADDRESS", "An empty database [env: RAVEL_TO]");
        var replace = CliOptions.Flag("--replace", "Even if the database has something: that is lost");
        group.Subcommands.Add(ForFile("backup", "Write a consistent copy of the database, while the server works", "ravel admin backup /backup/ravel-monday.db", database));
        group.Subcommands.Add(ForFile("restore", "Put a backup in the place of the database; stop raveld first", "ravel admin restore --replace /backup/ravel-monday.db", database, replace));
        var move = new CliCommand("migrate-database", "Move the database to another engine; stop raveld first")
        {
            Usage = "--to ADDRESS [OPTIONS]",
            Examples = ["ravel admin migrate-database --to postgres://ravel@10.0.0.1/ravel"],
            Run = session => RunAsync(session, ["migrate-database", .. Given(session, GlobalOptions.Data), .. Given(session, from), .. Given(session, to)]),
        };
        move.Options.Add(from);
        move.Options.Add(to);
        group.Subcommands.Add(move);
        return group;
    }

    private static CliCommand ForFile(string name, string description, string example, Option<string?> database, Option<bool>? replace = null)
    {
        var file = new Argument<string>("FILE") { Description = "The backup" };
        var command = new CliCommand(name, description)
        {
            Usage = "[OPTIONS] FILE",
            Examples = [example],
            Run = session => RunAsync(
                session,
                [
                    name, .. Given(session, GlobalOptions.Data), .. Given(session, database), .. replace is not null && session.Get(replace) ? [replace.Name] : Array.Empty<string>(),
                    // A path of raveld's, whose options begin with a dash.
                    Path.GetFullPath(session.Get(file)!),
                ]),
        };
        command.Options.Add(database);
        if (replace is not null)
            command.Options.Add(replace);
        command.Arguments.Add(file);
        return command;
    }

    private static string[] Given(Session session, Option<string?> option) => session.Get(option) is { } value ? [option.Name, value] : [];

    private static async Task<int> RunAsync(Session session, IReadOnlyList<string> arguments)
    {
        var binary = DaemonBinary.Find(session.Around);
        // It hears Ctrl-C by itself, and says how it ended.
        using var daemon = Programs.Start(binary, ["admin", .. arguments], captureOutput: false)
            ?? throw new CliException("admin", $"{binary} cannot be executed", "install raveld next to ravel, or set RAVELD");
        session.Interrupts.Take((_, _) => { });
        await daemon.WaitForExitAsync(CancellationToken.None);
        return daemon.ExitCode;
    }
}
