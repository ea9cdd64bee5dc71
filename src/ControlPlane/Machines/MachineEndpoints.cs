using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Kernels;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Tokens;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Machines;

internal static class MachineEndpoints
{
    private const int DefaultWaitSeconds = 60;
    private const int MaxWaitSeconds = 3600;
    private const int MaxPage = 1000;
    private const string MetadataFilter = "metadata.";

    public static IServiceCollection AddMachines(this IServiceCollection services) => services
        .AddSingleton<MachineStore>()
        .AddSingleton<MachineGroups>()
        .AddSingleton<IdempotencyKeys>()
        .AddSingleton<MachineChanges>()
        .AddSingleton<KernelPins>()
        .AddSingleton<MachineCommands>()
        .AddSingleton<MachineCreation>()
        .AddSingleton<MachineWaits>()
        .AddSingleton<MachineReconciler>()
        .AddHostedService(s => s.GetRequiredService<MachineReconciler>());

    public static void MapMachines(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/machines", ListAllAsync).WithSummary("List the machines of a namespace (Ravel's addition).");
        var machines = v1.MapGroup("/apps/{app}/machines");
        machines.MapGet("", ListAsync).WithSummary("List the machines of an app.");
        machines.MapPost("", CreateAsync).WithSummary("Create a machine and start it unless skip_launch is set.");
        machines.MapPost("/bulk", CreateManyAsync).WithSummary("Create several machines of one configuration, all of them or none (Ravel's addition).");
        var machine = machines.MapGroup("/{id}");
        machine.MapGet("", GetAsync).WithSummary("Show a machine with its newest events.");
        machine.MapPost("", UpdateAsync).WithSummary("Replace a machine's configuration; a running one restarts with it.");
        machine.MapDelete("", DeleteAsync).WithSummary("Destroy a machine; ?force=true also when it runs.");
        machine.MapPost("/start", StartAsync).WithSummary("Start a machine; nothing happens to a started one.");
        machine.MapPost("/stop", StopAsync).WithSummary("Stop a machine: a signal, then SIGKILL after the timeout.");
        machine.MapPost("/suspend", SuspendAsync).WithSummary("Save a started machine's memory and give back what it holds; start goes on from there.");
        machine.MapPost("/restart", RestartAsync).WithSummary("Stop a machine and start it again.");
        machine.MapPost("/signal", SignalAsync).WithSummary("Send a signal to a machine's workload.");
        machine.MapGet("/wait", WaitAsync).WithSummary("Wait until a machine is in a state.");
        machine.MapGet("/lease", LeaseOfAsync).WithSummary("Show who holds a machine's lease.");
        machine.MapPost("/lease", LeaseAsync).WithSummary("Take a machine's lease, or prolong it: for its time only who sends the nonce changes the machine.");
        machine.MapDelete("/lease", ReleaseAsync).WithSummary("Give a machine's lease back.");
        machine.MapGet("/metadata", MetadataAsync).WithSummary("Show a machine's metadata.");
        machine.MapPost("/metadata/{key}", SetMetadataAsync).WithSummary("Set one key of a machine's metadata.");
        machine.MapDelete("/metadata/{key}", DeleteMetadataAsync).WithSummary("Remove one key of a machine's metadata.");
        v1.MapEvents(machine);
        v1.MapUsage(machine);
        machine.MapLogs();
        machine.MapExec();
        machine.MapArchive();
    }

    /// <summary>The machine that a path means, for this caller.</summary>
    public static MachineKey Key(HttpContext http, string app, string id) => new(http.Tenant(), app, id, http.Request.Headers[MachineLeases.Header].FirstOrDefault());

    private static Task<Ok<IReadOnlyList<Machine>>> ListAllAsync(
        HttpContext http, MachineStore machines, [FromQuery(Name = "include_deleted")] bool? includeDeleted) =>
        ShowAllAsync(http, machines, null, includeDeleted);

    private static Task<Ok<IReadOnlyList<Machine>>> ListAsync(
        string app, HttpContext http, MachineStore machines, [FromQuery(Name = "include_deleted")] bool? includeDeleted) =>
        ShowAllAsync(http, machines, app, includeDeleted);

    private static async Task<Ok<IReadOnlyList<Machine>>> ShowAllAsync(HttpContext http, MachineStore machines, string? app, bool? withDestroyed)
    {
        var limit = PageSize(http);
        var after = ListCursor.Parse(http.Request.Query["cursor"]);
        // One more than is shown tells whether there is another page.
        var stored = await machines.ListAsync(http.Tenant(), app, withDestroyed ?? false, http.RequestAborted, after, limit + 1);
        if (stored.Count > limit)
        {
            stored.RemoveAt(stored.Count - 1);
            http.Response.Headers[ListCursor.Header] = new ListCursor(stored[^1].Row.CreatedAt, stored[^1].Row.Id).ToString();
        }
        var region = http.Request.Query["region"].ToString();
        var wanted = http.Request.Query
            .Where(q => q.Key.StartsWith(MetadataFilter, StringComparison.Ordinal))
            .Select(q => (Key: q.Key[MetadataFilter.Length..], Value: q.Value.ToString()))
            .ToList();
        IReadOnlyList<Machine> shown = stored
            .Select(m => m.Row.Shown(m.App))
            .Where(m => region.Length == 0 || m.Region == region)
            .Where(m => wanted.TrueForAll(w => m.Config.Metadata?.GetValueOrDefault(w.Key) == w.Value))
            .ToList();
        return TypedResults.Ok(shown);
    }

    /// <summary>A page may show fewer machines than it has room for: filters come after it is read.</summary>
    private static int? PageSize(HttpContext http)
    {
        var text = http.Request.Query["limit"].ToString();
        if (text.Length == 0)
            return null;
        return int.TryParse(text, out var limit) && limit is >= 1 and <= MaxPage
            ? limit
            : throw ProblemException.Invalid($"limit must be 1 to {MaxPage}.");
    }

    private static async Task<Ok<Machine>> CreateAsync(
        string app, CreateMachineRequest request, [FromQuery(Name = "wait_for_capacity")] string? patience, HttpContext http, MachineCreation creation)
    {
        var key = IdempotencyKey.Of(http, http.Tenant(), $"POST {http.Request.Path}", request, ApiJson.Default.CreateMachineRequest);
        return TypedResults.Ok(await creation.CreateAsync(
            new NewMachines(http.Tenant(), app, http.Caller().TokenId, key, PlacementRules.Patience(patience)), request, http.RequestAborted));
    }

    private static async Task<Ok<IReadOnlyList<Machine>>> CreateManyAsync(
        string app, CreateMachinesRequest request, [FromQuery(Name = "wait_for_capacity")] string? patience, HttpContext http, MachineCreation creation)
    {
        var key = IdempotencyKey.Of(http, http.Tenant(), $"POST {http.Request.Path}", request, ApiJson.Default.CreateMachinesRequest);
        return TypedResults.Ok(await creation.CreateManyAsync(
            new NewMachines(http.Tenant(), app, http.Caller().TokenId, key, PlacementRules.Patience(patience)), request, http.RequestAborted));
    }

    private static async Task<Ok<LeaseResponse>> LeaseOfAsync(string app, string id, HttpContext http, MachineCommands commands) =>
        TypedResults.Ok(await commands.ShowLeaseAsync(Key(http, app, id), http.RequestAborted));

    private static async Task<Ok<LeaseResponse>> LeaseAsync(
        string app, string id, [FromBody] LeaseRequest? request, HttpContext http, MachineCommands commands) =>
        TypedResults.Ok(await commands.LeaseAsync(Key(http, app, id), request, http.Caller().TokenId, http.RequestAborted));

    private static async Task<Ok<Acknowledgement>> ReleaseAsync(string app, string id, HttpContext http, MachineCommands commands)
    {
        await commands.ReleaseLeaseAsync(Key(http, app, id), http.RequestAborted);
        return TypedResults.Ok(new Acknowledgement(true));
    }

    private static async Task<Ok<Machine>> GetAsync(string app, string id, HttpContext http, MachineStore machines) =>
        TypedResults.Ok(await machines.ShowAsync(Key(http, app, id), http.RequestAborted));

    private static async Task<Ok<Machine>> UpdateAsync(
        string app, string id, CreateMachineRequest request, HttpContext http, MachineCommands commands) =>
        TypedResults.Ok(await commands.UpdateAsync(Key(http, app, id), request, http.RequestAborted));

    private static async Task<Ok<Acknowledgement>> DeleteAsync(string app, string id, bool? force, HttpContext http, MachineCommands commands) =>
        Done(await commands.DestroyAsync(Key(http, app, id), force ?? false, http.RequestAborted));

    private static async Task<Ok<Acknowledgement>> StartAsync(string app, string id, HttpContext http, MachineCommands commands) =>
        Done(await commands.StartAsync(Key(http, app, id), http.RequestAborted));

    private static async Task<Ok<Acknowledgement>> StopAsync(
        string app, string id, [FromBody] StopMachineRequest? request, HttpContext http, MachineCommands commands)
    {
        var signal = MachineConfigRules.CheckSignal(request?.Signal);
        var timeout = MachineConfigRules.CheckStopTimeout(request?.Timeout);
        return Done(await commands.StopAsync(Key(http, app, id), signal, timeout, http.RequestAborted));
    }

    private static async Task<Ok<Acknowledgement>> SuspendAsync(string app, string id, HttpContext http, MachineCommands commands) =>
        Done(await commands.SuspendAsync(Key(http, app, id), http.RequestAborted));

    private static async Task<Ok<Acknowledgement>> RestartAsync(
        string app, string id, string? signal, string? timeout, HttpContext http, MachineCommands commands)
    {
        var number = MachineConfigRules.CheckSignal(signal);
        var seconds = MachineConfigRules.CheckStopTimeout(timeout);
        return Done(await commands.RestartAsync(Key(http, app, id), number, seconds, http.RequestAborted));
    }

    private static async Task<Ok<Acknowledgement>> SignalAsync(
        string app, string id, SignalRequest request, HttpContext http, MachineStore machines, NodeDirectory nodes)
    {
        var signal = MachineConfigRules.CheckSignal(request.Signal) ?? throw ProblemException.Invalid("signal must be a signal such as SIGTERM or 15.");
        var machine = await ReachableAsync(Key(http, app, id), machines, http.RequestAborted);
        var node = nodes.Of(machine.NodeId);
        await node.Client.SignalMachineAsync(
            new Rpc.SignalMachineRequest { MachineId = machine.Id, Signal = signal }, node.Call(http.RequestAborted));
        return TypedResults.Ok(new Acknowledgement(true));
    }

    private static async Task<Ok<Acknowledgement>> WaitAsync(
        string app,
        string id,
        string? state,
        string? timeout,
        [FromQuery(Name = "instance_id")] string? instanceId,
        HttpContext http,
        MachineWaits waits)
    {
        var wanted = string.IsNullOrEmpty(state) ? MachineStates.Started : state;
        if (!WaitCondition.IsKnown(wanted))
            throw ProblemException.Invalid("state must be one of created, started, stopped, suspended, failed, destroyed, settled.");
        var limit = TimeSpan.FromSeconds(DefaultWaitSeconds);
        if (!string.IsNullOrEmpty(timeout) && (!GoDuration.TryParse(timeout, out limit) || limit.TotalSeconds > MaxWaitSeconds))
            throw ProblemException.Invalid($"timeout must be 0 to {MaxWaitSeconds} seconds, as a number or like '10s'.");
        var instance = string.IsNullOrEmpty(instanceId) ? null : instanceId;
        await waits.WaitAsync(Key(http, app, id), wanted, instance, limit, http.RequestAborted);
        return TypedResults.Ok(new Acknowledgement(true));
    }

    private static async Task<Ok<IReadOnlyDictionary<string, string>>> MetadataAsync(string app, string id, HttpContext http, MachineStore machines)
    {
        var (row, _) = await machines.GetAsync(Key(http, app, id), http.RequestAborted);
        return TypedResults.Ok(row.ReadConfig().Metadata ?? new Dictionary<string, string>());
    }

    private static async Task<NoContent> SetMetadataAsync(
        string app, string id, string key, MetadataValue value, HttpContext http, MachineCommands commands)
    {
        await commands.ChangeMetadataAsync(Key(http, app, id), metadata => metadata[key] = value.Value, http.RequestAborted);
        return TypedResults.NoContent();
    }

    private static async Task<NoContent> DeleteMetadataAsync(string app, string id, string key, HttpContext http, MachineCommands commands)
    {
        await commands.ChangeMetadataAsync(Key(http, app, id), metadata => metadata.Remove(key), http.RequestAborted);
        return TypedResults.NoContent();
    }

    /// <summary>A machine whose workload runs.</summary>
    /// <exception cref="ProblemException"><c>illegal-state</c> otherwise.</exception>
    public static async Task<MachineRow> ReachableAsync(MachineKey key, MachineStore machines, CancellationToken cancellationToken)
    {
        var (row, _) = await machines.GetAsync(key, cancellationToken);
        if (MachineLifecycle.RefusalToReach(row.Intent(), row.Sighting()) is { } refusal)
            throw new ProblemException(ProblemCodes.IllegalState, $"Machine {row.Id} ({row.Name}) {refusal}.");
        return row;
    }

    private static Ok<Acknowledgement> Done(string previousState) => TypedResults.Ok(new Acknowledgement(true, previousState));
}
