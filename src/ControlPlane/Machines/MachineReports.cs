using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Events;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Machines;

/// <summary>What a node's reports come to. Changes the row it is given and nothing else.</summary>
internal static class MachineReports
{
    private const int MaxType = 32;
    private const int MaxText = 2048;

    /// <summary>Takes one event of the node's outbox: the only source of a machine's observed state.</summary>
    /// <returns>The event for the machine's history; null when it says nothing (an unknown state, a machine that is gone).</returns>
    public static MachineEventRow? Take(MachineRow row, Rpc.NodeEvent report, DateTimeOffset now)
    {
        var status = report.Status;
        if (status is null || StateOf(status.State) is not { } state || row.ObservedState == MachineStates.Destroyed)
            return null;

        row.ObservedState = state;
        row.ObservedGeneration = Math.Max(row.ObservedGeneration, (long)status.ObservedGeneration);
        row.AcceptedGeneration = Math.Max(row.AcceptedGeneration, (long)status.Generation);
        if (report.Type == "start")
            row.StartedAt = report.At?.ToDateTimeOffset() ?? now;
        if (state == MachineStates.Started)
            row.StartedGeneration = Math.Max(row.StartedGeneration, (long)status.ObservedGeneration);
        var exit = Exit(status.Exit);
        var (code, message) = (Text(status.Problem?.Code), Text(status.Problem?.Message));
        // The way to the end adds to what is known: how a destroyed machine ended is still asked for.
        var isEnding = state is MachineStates.Destroying or MachineStates.Destroyed;
        if (exit is not null || !isEnding)
            row.Exit = exit;
        if (code is not null || !isEnding)
            (row.ProblemCode, row.ProblemMessage) = (code, message);
        row.InstanceId = Text(status.InstanceId) ?? row.InstanceId;
        row.ImageDigest = Text(status.ImageDigest) ?? row.ImageDigest;
        row.Command = Command(status.Command) ?? row.Command;
        row.PrivateIp = Text(status.AddressV6) ?? row.PrivateIp;
        row.NodeIpv4 = Text(status.AddressV4) ?? row.NodeIpv4;
        row.UpdatedAt = now;
        if (state == MachineStates.Destroyed)
            MarkDestroyed(row, now);

        var entry = new MachineEventRow
        {
            MachineId = row.Id,
            Type = report.Type.Length is 0 or > MaxType ? "update" : report.Type,
            Status = state,
            Source = "ravel",
            At = report.At?.ToDateTimeOffset() ?? now,
            InstanceId = Text(status.InstanceId),
            Exit = exit,
            ProblemCode = code,
            ProblemMessage = message,
        };
        row.Take(MachineLifecycle.Follow(row.Intent(), row.Sighting(), row.ReadConfig().AutoDestroy, atRestAt: 0), now);
        return entry;
    }

    /// <summary>Takes the answer to a command. It may overtake events, so only what can't be undone by an older event is taken.</summary>
    public static void TakeAnswer(MachineRow row, Rpc.MachineStatus status, DateTimeOffset now)
    {
        row.AcceptedGeneration = Math.Max(row.AcceptedGeneration, (long)status.Generation);
        if (row.ObservedState == MachineStates.Destroyed)
            return;
        var state = StateOf(status.State);
        if (state == MachineStates.Destroyed)
        {
            // A node that never had the machine has no event to tell of its end.
            End(row, now);
            return;
        }
        // Stopped before it was told to: the node has nothing left to do for this generation and so nothing to report.
        var atRestAt = state is not null && MachineLifecycle.IsAtRest(state) ? (long)status.Generation : 0;
        row.Take(MachineLifecycle.Follow(row.Intent(), row.Sighting(), row.ReadConfig().AutoDestroy, atRestAt), now);
    }

    /// <summary>Takes a refusal for good of one generation.</summary>
    public static void TakeRefusal(MachineRow row, long generation, string code, string message, DateTimeOffset now)
    {
        if (generation != row.Generation || row.Desired == DesiredState.Destroyed)
            return;
        row.UpdatedAt = now;
        // A machine that can't be suspended runs on: what is taken back is the wish. Whoever asks finds the reason with the machine.
        if (row.Desired == DesiredState.Suspended)
            row.Take(MachineLifecycle.Resume(row.Intent()), now);
        else
            row.RefusedGeneration = generation;
        (row.ProblemCode, row.ProblemMessage) = (Text(code), Text(message));
        row.Take(MachineLifecycle.Follow(row.Intent(), row.Sighting(), row.ReadConfig().AutoDestroy, atRestAt: 0), now);
    }

    public static string? StateOf(Rpc.MachineState state) => state switch
    {
        Rpc.MachineState.Created => MachineStates.Created,
        Rpc.MachineState.Starting => MachineStates.Starting,
        Rpc.MachineState.Started => MachineStates.Started,
        Rpc.MachineState.Suspending => MachineStates.Suspending,
        Rpc.MachineState.Suspended => MachineStates.Suspended,
        Rpc.MachineState.Stopping => MachineStates.Stopping,
        Rpc.MachineState.Stopped => MachineStates.Stopped,
        Rpc.MachineState.Failed => MachineStates.Failed,
        Rpc.MachineState.Destroying => MachineStates.Destroying,
        Rpc.MachineState.Destroyed => MachineStates.Destroyed,
        _ => null,
    };

    /// <summary>A machine ends without its node's word.</summary>
    public static void End(MachineRow row, DateTimeOffset now)
    {
        row.ObservedState = MachineStates.Destroyed;
        row.UpdatedAt = now;
        MarkDestroyed(row, now);
    }

    private static void MarkDestroyed(MachineRow row, DateTimeOffset now)
    {
        row.LiveName = null;
        row.DestroyedAt = now;
    }

    private static string? Exit(Rpc.ExitStatus? exit)
    {
        if (exit is null)
            return null;
        var shown = new MachineExit(
            exit.Code,
            exit.Signal == 0 ? null : exit.Signal,
            exit.OomKilled,
            exit.Requested,
            exit.At?.ToDateTimeOffset() ?? DateTimeOffset.UnixEpoch);
        return JsonSerializer.Serialize(shown, ApiJson.Default.MachineExit);
    }

    /// <summary>Of an agent that says more than it may, nothing is kept.</summary>
    private static string? Command(IReadOnlyCollection<string> words) =>
        words.Count is 0 or > MaxText || words.Sum(word => word.Length) > MaxText
            ? null
            : JsonSerializer.Serialize([.. words.Select(word => word.Replace('\0', '\uFFFD'))], ApiJson.Default.IReadOnlyListString);

    private static string? Text(string? text) =>
        // PostgreSQL's text has no NUL.
        string.IsNullOrEmpty(text) ? null : (text.Length <= MaxText ? text : text[..MaxText]).Replace('\0', '\uFFFD');
}
