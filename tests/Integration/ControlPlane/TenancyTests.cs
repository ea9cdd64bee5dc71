using System.Net;
using System.Net.Http.Json;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

public class TenancyTests : IAsyncLifetime
{
    private ControlPlaneHost _host = null!;

    /// <summary>Null: a SQLite file.</summary>
    protected virtual Task<DatabaseAddress?> DatabaseAsync() => Task.FromResult<DatabaseAddress?>(null);
    private HttpClient _red = null!;
    private HttpClient _blue = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await ControlPlaneHost.StartAsync(database: await DatabaseAsync());
        _red = await TenantAsync("red");
        _blue = await TenantAsync("blue");
    }

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        _red.Dispose();
        _blue.Dispose();
        await _host.DisposeAsync();
    }

    [Fact]
    public async Task A_machine_of_another_namespace_does_not_exist_on_any_path()
    {
        await _red.CreateAppAsync("web");
        var machine = await _red.CreateMachineAsync("web");
        await _red.WaitAsync(machine, MachineStates.Started);
        // The same name of an app in the other namespace must not open a way either.
        await _blue.CreateAppAsync("web");

        var path = ApiCalls.PathOf(machine);
        HttpRequestMessage[] requests =
        [
            new(HttpMethod.Get, path),
            new(HttpMethod.Delete, $"{path}?force=true"),
            new(HttpMethod.Post, path) { Content = Json("""{"config":{"image":"nginx"}}""") },
            new(HttpMethod.Get, $"{path}/usage"),
            new(HttpMethod.Post, $"{path}/start"),
            new(HttpMethod.Post, $"{path}/stop"),
            new(HttpMethod.Post, $"{path}/restart"),
            new(HttpMethod.Post, $"{path}/signal") { Content = Json("""{"signal":"SIGTERM"}""") },
            new(HttpMethod.Get, $"{path}/wait?state=started"),
            new(HttpMethod.Get, $"{path}/events"),
            new(HttpMethod.Get, $"{path}/metadata"),
            new(HttpMethod.Post, $"{path}/metadata/k") { Content = Json("""{"value":"v"}""") },
            new(HttpMethod.Delete, $"{path}/metadata/k"),
            new(HttpMethod.Get, $"{path}/logs"),
            new(HttpMethod.Post, $"{path}/exec") { Content = Json("""{"command":["id"]}""") },
        ];
        foreach (var request in requests)
        {
            var problem = await _blue.SendAsync(request).ProblemAsync();
            Assert.True(problem is { Status: 404, Code: ProblemCodes.MachineNotFound }, $"{request.Method} {request.RequestUri}: {problem.Code}");
        }
        Assert.Equal(MachineStates.Started, (await _red.GetMachineAsync(machine)).State);
        Assert.Single(_host.Node.Puts);
    }

    [Fact]
    public async Task Lists_show_a_tenant_its_own_only()
    {
        await _red.CreateAppAsync("web");
        await _red.CreateMachineAsync("web");
        Assert.Empty(await _blue.GetAsync("/v1/machines").ReadAsync(ApiJson.Default.IReadOnlyListMachine));
        Assert.Equal(0, (await _blue.GetAsync("/v1/apps").ReadAsync(ApiJson.Default.AppList)).TotalApps);
        Assert.Equal("red", Assert.Single((await _red.GetAsync("/v1/namespaces").ReadAsync(ApiJson.Default.NamespaceList)).Namespaces).Name);
        Assert.All(await _red.GetAsync("/v1/tokens").ReadAsync(ApiJson.Default.IReadOnlyListToken), t => Assert.Equal("red", t.Namespace));
    }

    [Fact]
    public async Task Usage_is_that_of_ones_own_machines()
    {
        await _red.CreateAppAsync("web");
        var machine = await _red.CreateMachineAsync("web");
        await _red.WaitAsync(machine, MachineStates.Started);

        var one = await _red.GetFromJsonAsync($"{ApiCalls.PathOf(machine)}/usage", ApiJson.Default.MachineUsage);
        var all = await _red.GetFromJsonAsync("/v1/machines/usage", ApiJson.Default.IReadOnlyListMachineUsage);

        Assert.Equal((machine.Id, machine.Name, "web", "one"), (one!.Id, one.Name, one.App, one.InstanceId));
        Assert.Equal((new CpuUsage(1, 1), new StorageUsage(0, 7), null), (one.Cpu, one.Disk, one.Network));
        Assert.Equal([one with { At = default }], all!.Select(usage => usage with { At = default }));
        Assert.Empty((await _blue.GetFromJsonAsync("/v1/machines/usage", ApiJson.Default.IReadOnlyListMachineUsage))!);
    }

    [Fact]
    public async Task A_tenant_that_names_another_namespace_is_told_that_there_is_none()
    {
        Assert.Equal(ProblemCodes.NamespaceNotFound, (await _blue.GetAsync("/v1/machines?namespace=red").ProblemAsync()).Code);
        Assert.Equal(ProblemCodes.NamespaceNotFound, (await _blue.GetAsync("/v1/namespaces/red").ProblemAsync()).Code);
        Assert.Equal(HttpStatusCode.OK, (await _blue.GetAsync("/v1/machines?namespace=blue")).StatusCode);
    }

    [Fact]
    public async Task An_administrator_names_the_namespace()
    {
        await _host.Client.CreateAppAsync("web", "?namespace=red");
        Assert.Equal(1, (await _red.GetAsync("/v1/apps").ReadAsync(ApiJson.Default.AppList)).TotalApps);
        Assert.Equal(0, (await _host.Client.GetAsync("/v1/apps").ReadAsync(ApiJson.Default.AppList)).TotalApps);
        var problem = await _host.Client.PostAsync("/v1/apps?namespace=nowhere", Json("""{"app_name":"web"}""")).ProblemAsync();
        Assert.Equal(ProblemCodes.NamespaceNotFound, problem.Code);
    }

    [Fact]
    public async Task What_belongs_to_the_cluster_is_forbidden_to_a_tenant()
    {
        HttpRequestMessage[] requests =
        [
            new(HttpMethod.Post, "/v1/namespaces") { Content = Json("""{"name":"green"}""") },
            new(HttpMethod.Delete, "/v1/namespaces/red"),
            new(HttpMethod.Post, "/v1/tokens") { Content = Json("""{"name":"root","administrator":true}""") },
            new(HttpMethod.Get, "/v1/images"),
            new(HttpMethod.Post, "/v1/images/import") { Content = new ByteArrayContent([1]) },
            new(HttpMethod.Delete, "/v1/images/nginx"),
            new(HttpMethod.Get, "/v1/images/inspect?reference=nginx"),
            new(HttpMethod.Post, "/v1/images/prune") { Content = new StringContent("{}", System.Text.Encoding.UTF8, "application/json") },
            new(HttpMethod.Post, "/v1/images/verify") { Content = new StringContent("{}", System.Text.Encoding.UTF8, "application/json") },
            new(HttpMethod.Post, "/v1/kernels") { Content = new ByteArrayContent([1]) },
            new(HttpMethod.Post, "/v1/kernels/build"),
            new(HttpMethod.Put, "/v1/kernels/default") { Content = Json("""{"kernel":"small"}""") },
            new(HttpMethod.Delete, "/v1/kernels/small"),
            new(HttpMethod.Post, "/v1/server/shutdown"),
        ];
        foreach (var request in requests)
        {
            var problem = await _red.SendAsync(request).ProblemAsync();
            Assert.True(problem is { Status: 403, Code: ProblemCodes.Forbidden }, $"{request.Method} {request.RequestUri}: {problem.Code}");
        }
    }

    [Fact]
    public async Task A_token_shows_its_secret_once_and_is_worth_nothing_after_it_was_revoked()
    {
        var token = await _red.PostAsync("/v1/tokens", Json("""{"name":"ci"}""")).ReadAsync(ApiJson.Default.Token);
        Assert.StartsWith("rvl_", token.Secret, StringComparison.Ordinal);
        Assert.All(await _red.GetAsync("/v1/tokens").ReadAsync(ApiJson.Default.IReadOnlyListToken), t => Assert.Null(t.Secret));
        using var ci = _host.ClientWith(token.Secret);
        await ci.GetAsync("/v1/apps").OkAsync();

        Assert.Equal(ProblemCodes.NotFound, (await _blue.DeleteAsync($"/v1/tokens/{token.Id}").ProblemAsync()).Code);
        await _red.DeleteAsync($"/v1/tokens/{token.Id}").OkAsync();
        Assert.Equal(ProblemCodes.Unauthorized, (await ci.GetAsync("/v1/apps").ProblemAsync()).Code);
    }

    [Fact]
    public async Task The_database_holds_no_secret()
    {
        await _host.StopServerAsync();
        if (_host.Database.Postgres is { } connection)
        {
            await using var source = Npgsql.NpgsqlDataSource.Create(connection);
            await using var dump = source.CreateCommand("SELECT schema_to_xml('public', true, false, '')::text");
            var text = (string)(await dump.ExecuteScalarAsync())!;
            Assert.Contains("bootstrap-administrator", text, StringComparison.Ordinal);
            Assert.DoesNotContain("rvl_", text, StringComparison.Ordinal);
            return;
        }
        foreach (var file in Directory.EnumerateFiles(Path.GetDirectoryName(_host.Database.File)!, "server.db*"))
        {
            var bytes = await File.ReadAllBytesAsync(file);
            Assert.True(bytes.AsSpan().IndexOf("rvl_"u8) < 0, $"{file} holds a secret.");
        }
    }

    [Fact]
    public async Task A_namespace_goes_with_its_tokens_and_only_when_it_is_empty()
    {
        await _red.CreateAppAsync("web");
        Assert.Equal(ProblemCodes.NamespaceNotEmpty, (await _host.Client.DeleteAsync("/v1/namespaces/red").ProblemAsync()).Code);
        await _red.DeleteAsync("/v1/apps/web").OkAsync();
        await _host.Client.DeleteAsync("/v1/namespaces/red").OkAsync();
        Assert.Equal(ProblemCodes.Unauthorized, (await _red.GetAsync("/v1/apps").ProblemAsync()).Code);
    }

    [Fact]
    public async Task An_app_with_machines_is_deleted_only_by_force()
    {
        await _red.CreateAppAsync("web");
        await _red.CreateMachineAsync("web");
        Assert.Equal(ProblemCodes.AppNotEmpty, (await _red.DeleteAsync("/v1/apps/web").ProblemAsync()).Code);
        await _red.DeleteAsync("/v1/apps/web?force=true").OkAsync();
        Assert.Equal(ProblemCodes.AppNotFound, (await _red.GetAsync("/v1/apps/web").ProblemAsync()).Code);
        Assert.Equal(Contracts.Node.DesiredState.Destroyed, _host.Node.Puts.Last().Desired);
    }

    private async Task<HttpClient> TenantAsync(string name)
    {
        await _host.Client.PostAsync("/v1/namespaces", Json($$"""{"name":"{{name}}"}""")).OkAsync();
        var token = await _host.Client.PostAsync($"/v1/tokens?namespace={name}", Json("""{"name":"t"}""")).ReadAsync(ApiJson.Default.Token);
        return _host.ClientWith(token.Secret);
    }

    private static StringContent Json(string text) => new(text, System.Text.Encoding.UTF8, "application/json");
}
