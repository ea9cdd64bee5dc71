using Ravel.Cli.Output;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>How a machine reads in a table.</summary>
internal static class MachineText
{
    private const int CommandWidth = 24;

    /// <summary><c>Up 3 minutes</c>, <c>Exited (7) 2 minutes ago</c>.</summary>
    public static Cell State(Machine machine, DateTimeOffset now) => machine.State switch
    {
        MachineStates.Started => new($"Up {Humane.Duration(Since(machine, now))}", Colour.Good),
        MachineStates.Stopped when machine.Exit is { } exit => new(
            $"Exited ({exit.ExitCode}){(exit.OomKilled ? " out of memory" : "")} {Humane.Ago(exit.ExitedAt, now)}",
            exit.ExitCode == 0 || exit.RequestedStop ? Colour.Faint : Colour.Bad),
        MachineStates.Stopped => new("Stopped", Colour.Faint),
        MachineStates.Failed => new($"Failed ({machine.Problem?.Code ?? "unknown"}) {Humane.Ago(machine.UpdatedAt, now)}", Colour.Bad),
        MachineStates.Created => new("Created", Colour.Faint),
        MachineStates.Suspended => new("Suspended", Colour.Faint),
        MachineStates.Starting or MachineStates.Suspending or MachineStates.Stopping or MachineStates.Destroying => new(Capitalised(machine.State), Colour.Warning),
        _ => new(Capitalised(machine.State), Colour.None),
    };

    /// <summary><c>0.0.0.0:8080->80/tcp, …</c>, as Docker writes it.</summary>
    public static string Ports(Machine machine) => string.Join(", ", (machine.Config.PublishedPorts ?? []).Select(port =>
    {
        var address = port.HostAddress is null ? "0.0.0.0" : port.HostAddress.Contains(':') ? $"[{port.HostAddress}]" : port.HostAddress;
        return $"{address}:{port.HostPort}->{port.GuestPort}/{port.Protocol ?? "tcp"}";
    }));

    /// <summary>What it runs, quoted where a shell would need it; before its first start, what was asked for.</summary>
    public static string Command(Machine machine, bool whole)
    {
        var init = machine.Config.Init;
        var words = machine.Command ?? init?.Exec ?? [.. init?.Entrypoint ?? [], .. init?.Cmd ?? []];
        var text = string.Join(' ', words.Select(Quoted));
        return whole || text.Length <= CommandWidth ? text : $"{text[..(CommandWidth - 1)]}…";
    }

    private static TimeSpan Since(Machine machine, DateTimeOffset now)
    {
        if (machine.StartedAt is { } running)
            return now > running ? now - running : TimeSpan.Zero;
        // A server of before does not say it, and lists come without events; then the id of the instance tells when it was made.
        var start = machine.Events.Where(e => e.Type == "start").Select(e => e.Timestamp).DefaultIfEmpty(-1).Max();
        var moment = start >= 0 ? DateTimeOffset.FromUnixTimeMilliseconds(start)
            : Ulid.TryParse(machine.InstanceId, out var instance) ? instance.Time
            : machine.UpdatedAt;
        return now > moment ? now - moment : TimeSpan.Zero;
    }

    private static string Quoted(string word) =>
        word.Length > 0 && word.All(c => char.IsAsciiLetterOrDigit(c) || "-_./:=,@%+".Contains(c)) ? word : $"'{word.Replace("'", "'\\''")}'";

    private static string Capitalised(string text) => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..];
}
