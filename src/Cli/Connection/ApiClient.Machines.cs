using System.Globalization;
using System.Net.Http.Json;
using Ravel.Cli.Errors;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

internal sealed partial class ApiClient
{
    /// <summary>The longest that one <c>/wait</c> may take, in seconds; longer waits ask again.</summary>
    private const int WaitSeconds = 60;

    /// <summary>The most that the server gives of a machine's events.</summary>
    private const int MaxEvents = 200;

    /// <summary>Every machine of the namespace, whatever its app.</summary>
    public Task<IReadOnlyList<Machine>> ListMachinesAsync(CancellationToken cancellationToken) =>
        GetAsync("machines", "v1/machines", ApiJson.Default.IReadOnlyListMachine, cancellationToken);

    public Task<Machine> GetMachineAsync(Machine machine, CancellationToken cancellationToken) =>
        GetAsync(machine.Name, PathOf(machine), ApiJson.Default.Machine, cancellationToken);

    /// <summary>What the machines of the namespace have used.</summary>
    public Task<IReadOnlyList<MachineUsage>> ReadUsageAsync(CancellationToken cancellationToken) =>
        GetAsync("machines", "v1/machines/usage", ApiJson.Default.IReadOnlyListMachineUsage, cancellationToken);

    /// <summary>Creates a machine, and its app if that is not there yet.</summary>
    /// <param name="app">Its app.</param>
    /// <param name="request">What it shall be.</param>
    /// <param name="patience">How long the server looks for room; null: not at all.</param>
    /// <param name="cancellationToken">Ends the call; the machine may be there all the same.</param>
    public Task<Machine> CreateMachineAsync(string app, CreateMachineRequest request, TimeSpan? patience, CancellationToken cancellationToken) => InAppAsync(
        app,
        () => PostAsync(
            request.Name ?? request.Config.Image,
            $"v1/apps/{Uri.EscapeDataString(app)}/machines{Waiting(patience)}",
            request,
            ApiJson.Default.CreateMachineRequest,
            ApiJson.Default.Machine,
            cancellationToken),
        cancellationToken);

    /// <summary>Creates several machines or none, and their app if that is not there yet.</summary>
    /// <inheritdoc cref="CreateMachineAsync"/>
    public Task<IReadOnlyList<Machine>> CreateMachinesAsync(
        string app, CreateMachinesRequest request, TimeSpan? patience, CancellationToken cancellationToken) => InAppAsync(
        app,
        () => PostAsync(
            request.Name ?? request.Config.Image,
            $"v1/apps/{Uri.EscapeDataString(app)}/machines/bulk{Waiting(patience)}",
            request,
            ApiJson.Default.CreateMachinesRequest,
            ApiJson.Default.IReadOnlyListMachine,
            cancellationToken),
        cancellationToken);

    private async Task<T> InAppAsync<T>(string app, Func<Task<T>> create, CancellationToken cancellationToken)
    {
        try
        {
            return await create();
        }
        catch (ProblemException e) when (e.Problem.Code == ProblemCodes.AppNotFound)
        {
            await EnsureAppAsync(app, cancellationToken);
            return await create();
        }
    }

    private static string Waiting(TimeSpan? patience) =>
        patience is { } time ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"?wait_for_capacity={Math.Ceiling(time.TotalSeconds)}") : "";

    /// <summary>Replaces a machine's configuration; what it leaves out goes back to its default.</summary>
    public Task<Machine> UpdateMachineAsync(Machine machine, MachineConfig config, CancellationToken cancellationToken) => PostAsync(
        machine.Name,
        PathOf(machine),
        new CreateMachineRequest { Config = config },
        ApiJson.Default.CreateMachineRequest,
        ApiJson.Default.Machine,
        cancellationToken);

    public Task StartMachineAsync(Machine machine, CancellationToken cancellationToken) =>
        CallAsync(machine.Name, HttpMethod.Post, $"{PathOf(machine)}/start", null, cancellationToken);

    public Task SuspendMachineAsync(Machine machine, CancellationToken cancellationToken) =>
        CallAsync(machine.Name, HttpMethod.Post, $"{PathOf(machine)}/suspend", null, cancellationToken);

    /// <param name="timeout">Until SIGKILL; null for the machine's own.</param>
    public async Task StopMachineAsync(Machine machine, string? signal, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        var request = new StopMachineRequest { Signal = signal, Timeout = Seconds(timeout) };
        using var content = JsonContent.Create(request, ApiJson.Default.StopMachineRequest);
        await CallAsync(machine.Name, HttpMethod.Post, $"{PathOf(machine)}/stop", content, cancellationToken);
    }

    /// <param name="timeout">Until SIGKILL; null for the machine's own.</param>
    public Task RestartMachineAsync(Machine machine, TimeSpan? timeout, CancellationToken cancellationToken) =>
        CallAsync(
            machine.Name,
            HttpMethod.Post,
            $"{PathOf(machine)}/restart{(Seconds(timeout) is { } seconds ? $"?timeout={seconds}" : "")}",
            null,
            cancellationToken);

    public async Task SignalMachineAsync(Machine machine, string signal, CancellationToken cancellationToken)
    {
        using var content = JsonContent.Create(new SignalRequest { Signal = signal }, ApiJson.Default.SignalRequest);
        await CallAsync(machine.Name, HttpMethod.Post, $"{PathOf(machine)}/signal", content, cancellationToken);
    }

    public Task DeleteMachineAsync(Machine machine, bool force, CancellationToken cancellationToken) =>
        CallAsync(machine.Name, HttpMethod.Delete, $"{PathOf(machine)}{(force ? "?force=true" : "")}", null, cancellationToken);

    public Task<IReadOnlyList<MachineEvent>> GetEventsAsync(Machine machine, CancellationToken cancellationToken) =>
        GetAsync(machine.Name, $"{PathOf(machine)}/events?limit={MaxEvents}", ApiJson.Default.IReadOnlyListMachineEvent, cancellationToken);

    /// <summary>What happens to a machine after an event, until it is removed.</summary>
    public IAsyncEnumerable<MachineEvent> FollowEventsAsync(Machine machine, string after, CancellationToken cancellationToken) =>
        LinesAsync(machine.Name, HttpMethod.Get, $"{PathOf(machine)}/events?follow=true&since={after}", null, ApiJson.Default.MachineEvent, cancellationToken);

    /// <summary>
    /// Waits until the machine is in <paramref name="state"/> or the server answers early; the caller looks at the machine
    /// again and decides. A time-out of the server's is no error.
    /// </summary>
    public async Task WaitAsync(Machine machine, string state, CancellationToken cancellationToken)
    {
        try
        {
            await CallAsync(machine.Name, HttpMethod.Get, $"{PathOf(machine)}/wait?state={state}&timeout={WaitSeconds}", null, cancellationToken);
        }
        catch (ProblemException e) when (e.Problem.Code is ProblemCodes.Timeout or ProblemCodes.IllegalState)
        {
            // Not yet, or never: what the machine looks like now says which.
        }
    }

    /// <param name="tail">How many lines from the end; null for all.</param>
    public IAsyncEnumerable<LogLine> LogsAsync(
        Machine machine, bool follow, int? tail, DateTimeOffset? since, CancellationToken cancellationToken)
    {
        List<string> query = [];
        if (follow)
            query.Add("follow=true");
        if (tail is not null)
            query.Add(string.Create(CultureInfo.InvariantCulture, $"tail={tail}"));
        if (since is { } moment)
            query.Add($"since={Uri.EscapeDataString(moment.UtcDateTime.ToString("O", CultureInfo.InvariantCulture))}");
        var path = $"{PathOf(machine)}/logs{(query.Count == 0 ? "" : $"?{string.Join('&', query)}")}";
        return LinesAsync(machine.Name, HttpMethod.Get, path, null, ApiJson.Default.LogLine, cancellationToken);
    }

    private async Task EnsureAppAsync(string app, CancellationToken cancellationToken)
    {
        try
        {
            using var content = JsonContent.Create(new CreateAppRequest { AppName = app }, ApiJson.Default.CreateAppRequest);
            await CallAsync(app, HttpMethod.Post, "v1/apps", content, cancellationToken);
        }
        catch (ProblemException e) when (e.Problem.Code == ProblemCodes.NameTaken)
        {
            // Another client was faster.
        }
    }

    private static string? Seconds(TimeSpan? time) =>
        time is { } span ? Math.Ceiling(span.TotalSeconds).ToString(CultureInfo.InvariantCulture) : null;

    private static string PathOf(Machine machine) => $"v1/apps/{Uri.EscapeDataString(machine.App)}/machines/{machine.Id}";
}
