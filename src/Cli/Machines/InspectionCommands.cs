using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary><c>logs</c>, <c>inspect</c> and <c>events</c>.</summary>
internal static class InspectionCommands
{
    public static CliCommand Logs()
    {
        var name = MachineArguments.One();
        var follow = CliOptions.Flag("--follow", "Go on until the machine ends", "-f");
        var tail = CliOptions.Parsed<int?>("--tail", "N", "Only the last N lines (or all)", Tail, "-n");
        var since = CliOptions.Text("--since", "TIME", "Only what is newer: 10m, or 2026-01-31T12:00:00Z");
        var timestamps = CliOptions.Flag("--timestamps", "Put the time before each line", "-t");
        var command = new CliCommand("logs", "Show what a machine's workload printed")
        {
            Usage = "[OPTIONS] MACHINE",
            Examples = ["ravel logs web", "ravel logs -f --tail 20 web", "ravel logs --since 10m --timestamps web"],
            Run = async session =>
            {
                var from = ReadSince("logs", session.Get(since), session.Time.GetUtcNow());
                var machine = await session.ResolveAsync(session.Get(name));
                var printer = new LogPrinter(session.Terminal, session.Json, session.Get(timestamps));
                var lines = session.Get(tail) is { } count and >= 0 ? count : (int?)null;
                await foreach (var line in session.Api.LogsAsync(machine, session.Get(follow), lines, from, session.Cancelled))
                    printer.Print(line);
                return 0;
            },
        };
        command.Options.Add(follow);
        command.Options.Add(tail);
        command.Options.Add(since);
        command.Options.Add(timestamps);
        command.Arguments.Add(name);
        return command;
    }

    public static CliCommand Inspect()
    {
        var names = MachineArguments.Many();
        var command = new CliCommand("inspect", "Show all there is to know of machines, as JSON")
        {
            Usage = "MACHINE [MACHINE...]",
            Examples = ["ravel inspect web", "ravel inspect web | jq '.[0].config.image'"],
            Run = async session =>
            {
                var all = await session.Api.ListMachinesAsync(session.Cancelled);
                var machines = new List<Machine>();
                foreach (var text in session.Get(names))
                    machines.Add(await session.Api.GetMachineAsync(MachineNames.Resolve(text, all), session.Cancelled));
                JsonOutput.Document<IReadOnlyList<Machine>>(session.Terminal, machines);
                return 0;
            },
        };
        command.Arguments.Add(names);
        return command;
    }

    public static CliCommand Events()
    {
        var name = MachineArguments.One();
        var follow = CliOptions.Flag("--follow", "Go on until the machine is removed", "-f");
        var since = CliOptions.Text("--since", "TIME", "Only what is newer: 10m, or 2026-01-31T12:00:00Z");
        var command = new CliCommand("events", "Show what happened to a machine, oldest first")
        {
            Usage = "[OPTIONS] MACHINE",
            Examples = ["ravel events web", "ravel events -f --since 10m web", "ravel events web --json | jq -r '.[] | select(.type == \"exit\")'"],
            Run = async session =>
            {
                var from = ReadSince("events", session.Get(since), session.Time.GetUtcNow())?.ToUnixTimeMilliseconds() ?? 0;
                var machine = await session.ResolveAsync(session.Get(name));
                // They come newest first; several may have happened in one millisecond.
                var all = (await session.Api.GetEventsAsync(machine, session.Cancelled)).Reverse().ToList();
                var events = all.FindAll(e => e.Timestamp >= from);
                if (session.Get(follow))
                    return await FollowAsync(session, machine, events, all.Count == 0 ? "0" : all[^1].Id);
                if (session.Json)
                    JsonOutput.Document<IReadOnlyList<MachineEvent>>(session.Terminal, events);
                else
                    Render(events).Write(session.Terminal);
                return 0;
            },
        };
        command.Options.Add(follow);
        command.Options.Add(since);
        command.Arguments.Add(name);
        return command;
    }

    /// <summary>What has happened, then each event as it comes: a line, or a JSON object a line.</summary>
    private static async Task<int> FollowAsync(Session session, Machine machine, List<MachineEvent> before, string after)
    {
        before.ForEach(Print);
        session.Terminal.Flush();
        await foreach (var e in session.Api.FollowEventsAsync(machine, after, session.Cancelled))
        {
            Print(e);
            session.Terminal.Flush();
        }
        return 0;

        void Print(MachineEvent e)
        {
            if (session.Json)
                JsonOutput.Line(session.Terminal, e);
            else
                session.Terminal.Out.WriteLine(SafeText.Of($"{Moment(e)}  {e.Type,-10}  {e.Status,-10}  {e.Source,-5}  {Detail(e)}".TrimEnd()));
        }
    }

    private static string Moment(MachineEvent e) =>
        DateTimeOffset.FromUnixTimeMilliseconds(e.Timestamp).UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'");

    private static Table Render(List<MachineEvent> events)
    {
        var table = new Table("TIME", "EVENT", "STATE", "BY", "DETAIL");
        foreach (var e in events)
        {
            table.Add(
                Moment(e),
                e.Type,
                e.Status,
                e.Source,
                Detail(e));
        }
        return table;
    }

    private static string Detail(MachineEvent e) => (e.Problem, e.Exit) switch
    {
        ({ } problem, _) => $"{problem.Code}: {problem.Message}",
        (null, { } exit) => $"exit code {exit.ExitCode}{(exit.OomKilled ? ", out of memory" : "")}{(exit.RequestedStop ? ", as asked" : "")}",
        _ => "",
    };

    private static int? Tail(string text) => text == "all"
        ? -1
        : int.TryParse(text, out var count) && count >= 0
            ? count
            : throw new FormatException($"'{text}' is not a number of lines, nor 'all'");

    private static DateTimeOffset? ReadSince(string command, string? text, DateTimeOffset now)
    {
        try
        {
            return text is null ? null : Values.Since(text, now);
        }
        catch (FormatException e)
        {
            throw Errors.CliException.Usage(command, $"--since: {e.Message}", $"see: ravel {command} --help");
        }
    }
}
