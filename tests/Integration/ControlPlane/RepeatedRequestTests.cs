using System.Net.Http.Json;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.ControlPlane;
using Machine = Ravel.Contracts.Api.Machine;

namespace Ravel.Integration.ControlPlane;

/// <summary>Idempotency keys, leases, pages and cursors.</summary>
public class RepeatedRequestTests : IAsyncLifetime
{
    private ControlPlaneHost _host = null!;

    /// <summary>Null: a SQLite file.</summary>
    protected virtual Task<DatabaseAddress?> DatabaseAsync() => Task.FromResult<DatabaseAddress?>(null);

    public async ValueTask InitializeAsync()
    {
        _host = await ControlPlaneHost.StartAsync(database: await DatabaseAsync());
        await _host.Client.CreateAppAsync("web");
    }

    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return _host.DisposeAsync();
    }

    [Fact]
    public async Task Ten_requests_with_one_key_at_once_make_one_machine()
    {
        var made = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => PostAsync("nginx", "key-1").ReadAsync(ApiJson.Default.Machine)));
        Assert.Single(made.Select(m => m.Id).Distinct());
        Assert.Single(await ListAsync(""));
        Assert.Single(_host.Node.Reservations);
    }

    [Fact]
    public async Task A_key_outlives_the_server_and_stands_for_one_request_only()
    {
        var first = await PostAsync("nginx", "key-1").ReadAsync(ApiJson.Default.Machine);
        await _host.StopServerAsync();
        await _host.StartServerAsync();
        Assert.Equal(first.Id, (await PostAsync("nginx", "key-1").ReadAsync(ApiJson.Default.Machine)).Id);
        var other = await PostAsync("redis", "key-1").ProblemAsync();
        Assert.Equal((422, ProblemCodes.IdempotencyMismatch), (other.Status, other.Code));
        Assert.NotEqual(first.Id, (await PostAsync("nginx", "key-2").ReadAsync(ApiJson.Default.Machine)).Id);
        Assert.Equal(ProblemCodes.InvalidRequest, (await PostAsync("nginx", new string('k', 300)).ProblemAsync()).Code);
    }

    [Fact]
    public async Task A_refused_request_leaves_its_key_unused()
    {
        Assert.Equal(ProblemCodes.InvalidRequest, (await PostAsync("NOT AN IMAGE", "key-1").ProblemAsync()).Code);
        await PostAsync("nginx", "key-1").OkAsync();
    }

    [Fact]
    public async Task Only_the_holder_of_a_lease_changes_the_machine()
    {
        var machine = await PostAsync("nginx", null).ReadAsync(ApiJson.Default.Machine);
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        Assert.Equal(ProblemCodes.LeaseNotFound, (await _host.Client.GetAsync(LeaseOf(machine)).ProblemAsync()).Code);

        var lease = await _host.Client.PostAsync(
            LeaseOf(machine), JsonContent.Create(new LeaseRequest { Ttl = 60, Description = "deploy" }, ApiJson.Default.LeaseRequest))
            .ReadAsync(ApiJson.Default.LeaseResponse);
        Assert.Equal(("success", "deploy"), (lease.Status, lease.Data.Description));
        Assert.Null((await _host.Client.GetAsync(LeaseOf(machine)).ReadAsync(ApiJson.Default.LeaseResponse)).Data.Nonce);
        Assert.Equal(ProblemCodes.LeaseHeld, (await _host.Client.DoAsync(machine, "stop").ProblemAsync()).Code);
        Assert.Equal(ProblemCodes.LeaseHeld, (await _host.Client.PostAsync(LeaseOf(machine), null).ProblemAsync()).Code);

        await SendAsync(HttpMethod.Post, $"{ApiCalls.PathOf(machine)}/stop", lease.Data.Nonce!).OkAsync();
        await SendAsync(HttpMethod.Delete, LeaseOf(machine), lease.Data.Nonce!).OkAsync();
        await _host.Client.DoAsync(machine, "start").OkAsync();
    }

    [Fact]
    public async Task A_machine_can_be_made_with_a_lease()
    {
        var request = new CreateMachineRequest { Config = new MachineConfig { Image = "nginx" }, LeaseTtl = 60 };
        var machine = await _host.Client.CreateMachineAsync("web", request);
        Assert.NotNull(machine.Nonce);
        Assert.Equal(ProblemCodes.LeaseHeld, (await _host.Client.DoAsync(machine, "stop").ProblemAsync()).Code);
        Assert.Null((await _host.Client.GetMachineAsync(machine)).Nonce);
    }

    [Fact]
    public async Task A_repeated_request_is_answered_with_the_nonce_of_its_own_lease_and_no_other()
    {
        var request = new CreateMachineRequest { Config = new MachineConfig { Image = "nginx" }, LeaseTtl = 60 };
        var machine = await PostAsync(request, "key-1").ReadAsync(ApiJson.Default.Machine);
        Assert.NotNull(machine.Nonce);
        Assert.Equal(machine.Nonce, (await PostAsync(request, "key-1").ReadAsync(ApiJson.Default.Machine)).Nonce);

        await SendAsync(HttpMethod.Delete, LeaseOf(machine), machine.Nonce).OkAsync();
        Assert.Null((await PostAsync(request, "key-1").ReadAsync(ApiJson.Default.Machine)).Nonce);
        await _host.Client.PostAsync(
            LeaseOf(machine), JsonContent.Create(new LeaseRequest { Ttl = 60 }, ApiJson.Default.LeaseRequest)).OkAsync();
        Assert.Null((await PostAsync(request, "key-1").ReadAsync(ApiJson.Default.Machine)).Nonce);
    }

    [Fact]
    public async Task Pages_follow_each_other_without_gap_or_repeat_while_machines_come_and_go()
    {
        var made = new List<Machine>();
        for (var i = 0; i < 7; i++)
            made.Add(await PostAsync("nginx", null).ReadAsync(ApiJson.Default.Machine));
        var seen = new List<string>();
        var cursor = "";
        for (var page = 0; page < 10; page++)
        {
            using var response = await _host.Client.GetAsync($"/v1/apps/web/machines?limit=3{cursor}");
            seen.AddRange((await Task.FromResult(response).ReadAsync(ApiJson.Default.IReadOnlyListMachine)).Select(m => m.Id.Value));
            if (!response.Headers.TryGetValues("Ravel-Next-Cursor", out var next))
                break;
            cursor = $"&cursor={next.Single()}";
            if (page == 0)
                await PostAsync("nginx", null).OkAsync();
        }
        Assert.Equal(8, seen.Count);
        Assert.Equal(made.Select(m => m.Id.Value), seen.Take(7));
        Assert.Equal(ProblemCodes.InvalidRequest, (await _host.Client.GetAsync("/v1/machines?limit=0").ProblemAsync()).Code);
        Assert.Equal(ProblemCodes.InvalidRequest, (await _host.Client.GetAsync("/v1/machines?cursor=x").ProblemAsync()).Code);
    }

    [Fact]
    public async Task Events_go_on_behind_a_cursor_and_can_be_followed()
    {
        var machine = await PostAsync("nginx", null).ReadAsync(ApiJson.Default.Machine);
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        var all = await _host.Client.GetAsync("/v1/events").ReadAsync(ApiJson.Default.IReadOnlyListMachineEvent);
        Assert.Equal(machine.Id, all[0].MachineId);
        var oldest = all[^1];
        var rest = await _host.Client.GetAsync($"{ApiCalls.PathOf(machine)}/events?since={oldest.Id}").ReadAsync(ApiJson.Default.IReadOnlyListMachineEvent);
        Assert.Equal(all.Reverse().Skip(1).Select(e => e.Id), rest.Select(e => e.Id));

        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var stream = new StreamReader(await _host.Client.GetStreamAsync(
            $"{ApiCalls.PathOf(machine)}/events?follow=true&since={all[0].Id}", deadline.Token));
        var following = Task.Run(async () =>
        {
            var types = new List<string>();
            while (await stream.ReadLineAsync(deadline.Token) is { } line)
                types.Add(System.Text.Json.JsonSerializer.Deserialize(line, ApiJson.Default.MachineEvent)!.Type);
            return types;
        });
        await _host.Client.DeleteAsync($"{ApiCalls.PathOf(machine)}?force=true").OkAsync();
        // Ends by itself with the machine.
        Assert.Equal("destroy", (await following)[^1]);
    }

    private static string LeaseOf(Machine machine) => $"{ApiCalls.PathOf(machine)}/lease";

    private Task<IReadOnlyList<Machine>> ListAsync(string query) =>
        _host.Client.GetAsync($"/v1/machines{query}").ReadAsync(ApiJson.Default.IReadOnlyListMachine);

    private Task<HttpResponseMessage> PostAsync(string image, string? key) =>
        PostAsync(new CreateMachineRequest { Config = new MachineConfig { Image = image } }, key);

    private async Task<HttpResponseMessage> PostAsync(CreateMachineRequest body, string? key)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/apps/web/machines")
        {
            Content = JsonContent.Create(body, ApiJson.Default.CreateMachineRequest),
        };
        if (key is not null)
            request.Headers.Add("Idempotency-Key", key);
        return await _host.Client.SendAsync(request);
    }

    private async Task<HttpResponseMessage> SendAsync(HttpMethod method, string path, string nonce)
    {
        using var request = new HttpRequestMessage(method, path);
        request.Headers.Add("fly-machine-lease-nonce", nonce);
        return await _host.Client.SendAsync(request);
    }
}
