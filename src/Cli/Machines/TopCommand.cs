using System.CommandLine;
using System.Globalization;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Processes;
using Ravel.Cli.Shell;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;

namespace Ravel.Cli.Machines;

/// <summary><c>ravel top</c>: what machines use, as <c>docker stats</c> shows it.</summary>
internal static class TopCommand
{
    private const string Home = "\e[H", ClearLine = "\e[K", ClearBelow = "\e[J", Clear = "\e[2J", Wrap = "\e[?7h", NoWrap = "\e[?7l";

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    public static CliCommand Create()
    {
        var all = CliOptions.Flag("--all", "Show those that do not run as well", "-a");
        var once = CliOptions.Flag("--no-stream", "Print one table and end; so it is in a pipe");
        var names = new Argument<string[]>("MACHINE") { Description = "Ids, unique prefixes of ids, or names; all if none", Arity = ArgumentArity.ZeroOrMore };
        names.CompletionSources.Add(Completions.Machines);
        var command = new CliCommand("top", "Show what machines use: CPU, memory, network and disk")
        {
            Usage = "[OPTIONS] [MACHINE...]",
            Examples = ["ravel top", "ravel top --no-stream web", "ravel top --json | jq '.[].memory.bytes'"],
            Run = async session =>
            {
                var wanted = await ChooseAsync(session, session.Get(names)!);
                bool IsShown(MachineUsage usage) => wanted is null ? session.Get(all) || usage.InstanceId is not null : wanted.Contains(usage.Id);
                var first = await session.Api.ReadUsageAsync(session.Cancelled);
                if (session.Json)
                {
                    JsonOutput.Document<IReadOnlyList<MachineUsage>>(session.Terminal, [.. first.Where(IsShown)]);
                    return 0;
                }
                if (session.Terminal.IsTerminal && !session.Get(once))
                {
                    await WatchAsync(session, first, IsShown);
                    return 0;
                }
                // A rate takes two readings.
                await Task.Delay(Interval, session.Time, session.Cancelled);
                var now = await session.Api.ReadUsageAsync(session.Cancelled);
                Render([.. now.Where(IsShown)], first).Write(session.Terminal);
                return 0;
            },
        };
        command.Options.Add(all);
        command.Options.Add(once);
        command.Arguments.Add(names);
        return command;
    }

    /// <param name="machines">As they are now.</param>
    /// <param name="before">An earlier reading; what was not in it, or is another instance now, has no rate yet.</param>
    public static Table Render(IReadOnlyList<MachineUsage> machines, IReadOnlyList<MachineUsage> before)
    {
        var table = new Table("ID", "NAME", "CPU %", "MEM / GUEST", "NET RX / TX", "DISK R / W", "DISK USED", "LOG");
        var single = machines.Select(machine => machine.App).Distinct().Count() <= 1;
        foreach (var machine in machines.OrderBy(machine => machine.Name, StringComparer.Ordinal))
        {
            table.Add(
                machine.Id.Value,
                single ? machine.Name : $"{machine.App}/{machine.Name}",
                CpuPercent(machine, before.FirstOrDefault(other => other.Id == machine.Id)),
                machine.Memory is { } memory ? Pair(memory.Bytes, memory.LimitBytes) : "-",
                machine.Network is { } network ? Pair(network.ReceivedBytes, network.SentBytes) : "-",
                machine.DiskIo is { } disk ? Pair(disk.ReadBytes, disk.WrittenBytes) : "-",
                Pair(machine.Disk.Bytes, machine.Disk.LimitBytes),
                Humane.Bytes(machine.LogBytes));
        }
        return table;
    }

    /// <summary>100 is one CPU, as docker counts.</summary>
    private static string CpuPercent(MachineUsage now, MachineUsage? before)
    {
        if (now.Cpu is null || before?.Cpu is null || before.InstanceId != now.InstanceId || now.At <= before.At)
            return "-";
        var share = (now.Cpu.Seconds - before.Cpu.Seconds) / (now.At - before.At).TotalSeconds;
        return string.Create(CultureInfo.InvariantCulture, $"{Math.Max(0, share) * 100:0.0}");
    }

    private static string Pair(long one, long other) => $"{Humane.Bytes(one)} / {Humane.Bytes(other)}";

    private static async Task<HashSet<MachineId>?> ChooseAsync(Session session, string[] names)
    {
        if (names.Length == 0)
            return null;
        var machines = await session.Api.ListMachinesAsync(session.Cancelled);
        return [.. names.Select(name => MachineNames.Resolve(name, machines).Id)];
    }

    /// <summary>Until q is typed, or a signal ends it.</summary>
    private static async Task WatchAsync(Session session, IReadOnlyList<MachineUsage> first, Func<MachineUsage, bool> isShown)
    {
        using var size = await WatchedTerminalSize.StartAsync(session.Cancelled);
        await using var keys = await QuitKey.ListenAsync(session.Cancelled);
        IReadOnlyList<MachineUsage> before = [];
        var now = first;
        for (var isFirst = true; ; isFirst = false)
        {
            Redraw(session.Terminal, Render([.. now.Where(isShown)], before), size.Current.Rows, isFirst);
            before = now;
            var pause = Task.Delay(Interval, session.Time, session.Cancelled);
            if (await Task.WhenAny(pause, keys.Pressed) == keys.Pressed)
                return;
            await pause;
            now = await session.Api.ReadUsageAsync(session.Cancelled);
        }
    }

    /// <summary>
    /// Over the table that stands there, line by line, so that nothing flickers. What is wider or longer than the terminal is cut off there:
    /// it would scroll.
    /// </summary>
    internal static void Redraw(Terminal terminal, Table table, int rows, bool isFirst)
    {
        terminal.Out.Write((isFirst ? Clear + Home : Home) + NoWrap);
        table.Write(terminal, ClearLine, rows - 1);
        terminal.Out.Write(ClearBelow + Wrap);
        terminal.Flush();
    }
}
