using System.Globalization;
using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Tokens;

namespace Ravel.ControlPlane.Machines;

/// <summary>
/// What happened to machines. Without <c>since</c> the newest first; with it, what came after that event, oldest first. <c>follow</c> goes on
/// with what comes, one JSON object a line.
/// </summary>
internal static class EventEndpoints
{
    private const int DefaultEvents = 50;
    private const int MaxEvents = 200;

    /// <summary>A wake-up that was lost costs at most this.</summary>
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(30);

    /// <summary>Over all machines an event may settle only after its wake-up (<see cref="Storage.ServerDbContext.SettledEvents"/>).</summary>
    private static readonly TimeSpan LookAgainAtAll = TimeSpan.FromSeconds(1);

    public static void MapEvents(this IEndpointRouteBuilder v1, IEndpointRouteBuilder machine)
    {
        v1.MapGet("/events", AllAsync)
            .Produces<IReadOnlyList<MachineEvent>>()
            .WithSummary("What happened to the machines of a namespace (Ravel's addition); ?since=, ?limit=, ?follow=true.");
        machine.MapGet("/events", OneAsync)
            .Produces<IReadOnlyList<MachineEvent>>()
            .WithSummary("What happened to a machine, newest first; ?since=, ?limit=, ?follow=true.");
    }

    private static Task AllAsync(
        string? since, int? limit, bool? follow, HttpContext http, MachineStore machines, MachineChanges changes, TimeProvider time) =>
        AnswerAsync(http.Tenant(), null, since, limit, follow, http, machines, changes, time);

    private static async Task OneAsync(
        string app, string id, string? since, int? limit, bool? follow, HttpContext http, MachineStore machines, MachineChanges changes, TimeProvider time)
    {
        var (row, _) = await machines.GetAsync(MachineEndpoints.Key(http, app, id), http.RequestAborted);
        await AnswerAsync(http.Tenant(), row.Id, since, limit, follow, http, machines, changes, time);
    }

    private static async Task AnswerAsync(
        string tenant, string? machine, string? since, int? limit, bool? follow, HttpContext http, MachineStore machines, MachineChanges changes, TimeProvider time)
    {
        if (limit is < 1 or > MaxEvents)
            throw ProblemException.Invalid($"limit must be 1 to {MaxEvents}.");
        long after = 0;
        if (!string.IsNullOrEmpty(since) && !long.TryParse(since, NumberStyles.None, CultureInfo.InvariantCulture, out after))
            throw ProblemException.Invalid("since must be the id of an event.");
        if (follow == true)
        {
            var begin = string.IsNullOrEmpty(since) ? await machines.LastEventAsync(http.RequestAborted) : after;
            await NdjsonStream.WriteAsync(
                http, FollowAsync(tenant, machine, begin, machines, changes, time, http.RequestAborted), ApiJson.Default.MachineEvent, beginsAtOnce: true);
            return;
        }
        IReadOnlyList<MachineEvent> events = string.IsNullOrEmpty(since)
            ? await machines.NewestEventsAsync(tenant, machine, limit ?? DefaultEvents, http.RequestAborted)
            : await machines.EventsAfterAsync(tenant, machine, after, limit ?? DefaultEvents, http.RequestAborted);
        await http.Response.WriteAsJsonAsync(events, ApiJson.Default.IReadOnlyListMachineEvent, cancellationToken: http.RequestAborted);
    }

    private static async IAsyncEnumerable<MachineEvent> FollowAsync(
        string tenant, string? machine, long after, MachineStore machines, MachineChanges changes, TimeProvider time,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var subscription = changes.Subscribe(machine ?? MachineChanges.Every);
        while (true)
        {
            // Looked at first: what happened until then is in the events.
            var isOver = machine is not null && await machines.FindByIdAsync(machine, cancellationToken) is null or { Row.DestroyedAt: not null };
            var events = await machines.EventsAfterAsync(tenant, machine, after, MaxEvents, cancellationToken);
            foreach (var e in events)
            {
                after = long.Parse(e.Id, CultureInfo.InvariantCulture);
                yield return e;
            }
            if (isOver && events.Count == 0)
                yield break;
            if (events.Count == 0)
                await subscription.Wakeup.WaitAsync(machine is null ? LookAgainAtAll : LookAgain, time, cancellationToken);
        }
    }
}
