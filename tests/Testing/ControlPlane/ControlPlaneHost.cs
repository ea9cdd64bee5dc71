using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.ControlPlane;
using Ravel.ControlPlane.Storage;

namespace Ravel.Testing.ControlPlane;

/// <summary>
/// A server as users meet it: Kestrel on a loopback port, a database, a <see cref="FakeNode"/> on a Unix socket. It can be
/// stopped and started on the same files.
/// </summary>
public sealed class ControlPlaneHost : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-server-").FullName;
    private readonly Func<ControlPlaneOptions, ControlPlaneOptions> _configure;
    private WebApplication? _app;

    private ControlPlaneHost(Func<ControlPlaneOptions, ControlPlaneOptions> configure, DatabaseAddress? database)
    {
        _configure = configure;
        Database = database ?? DatabaseAddress.Sqlite(Path.Combine(_directory, "server.db"));
        Node = new FakeNode(Path.Combine(_directory, "node.sock"));
    }

    public FakeNode Node { get; }

    public BootstrapResult Secrets { get; private set; } = new("", "");

    /// <summary>What the last start made; null when it found what it needed.</summary>
    public BootstrapResult? Bootstrapped { get; private set; }

    public Uri Address { get; private set; } = new("http://127.0.0.1");

    public IServiceProvider Services => _app?.Services ?? throw new InvalidOperationException("The server is stopped.");

    /// <summary>With the administrator's token.</summary>
    public HttpClient Client { get; private set; } = new();

    public DatabaseAddress Database { get; }

    /// <param name="configure">Changes the options.</param>
    /// <param name="withNode">Whether the node is there from the beginning.</param>
    /// <param name="database">Null: a SQLite file.</param>
    public static async Task<ControlPlaneHost> StartAsync(
        Func<ControlPlaneOptions, ControlPlaneOptions>? configure = null, bool withNode = true, DatabaseAddress? database = null)
    {
        var host = new ControlPlaneHost(configure ?? (o => o), database);
        if (withNode)
            await host.Node.StartAsync();
        await host.StartServerAsync();
        return host;
    }

    public async Task StartServerAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        // RAVEL_TEST_LOG=1 shows what the server has to say when a test fails.
        if (Environment.GetEnvironmentVariable("RAVEL_TEST_LOG") == "1")
            builder.Logging.AddSimpleConsole();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        builder.Services.AddControlPlane(_configure(new ControlPlaneOptions
        {
            Database = Database,
            NodeSocketPath = Node.SocketPath,
            Version = "0.0.0-test",
        }));
        _app = builder.Build();
        Bootstrapped = await _app.Services.EnsureBootstrapAsync(CancellationToken.None);
        Secrets = Bootstrapped ?? Secrets;
        _app.MapControlPlane();
        await _app.StartAsync();
        Address = new Uri(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        Client.Dispose();
        Client = ClientWith(Secrets.AdministratorSecret);
    }

    public async Task StopServerAsync()
    {
        if (_app is null)
            return;
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
        _app = null;
    }

    public HttpClient ClientWith(string? secret)
    {
        var client = new HttpClient { BaseAddress = Address };
        if (secret is not null)
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", secret);
        return client;
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await StopServerAsync();
        await Node.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }
}

/// <summary>The API in few words, for tests.</summary>
public static class ApiCalls
{
    public static async Task<T> ReadAsync<T>(this Task<HttpResponseMessage> call, JsonTypeInfo<T> type)
    {
        using var response = await call;
        var text = await response.Content.ReadAsStringAsync();
        if (!response.IsSuccessStatusCode)
            throw new InvalidOperationException($"{(int)response.StatusCode} {text}");
        return JsonSerializer.Deserialize(text, type)!;
    }

    /// <summary>The problem that a call must end in.</summary>
    public static async Task<Problem> ProblemAsync(this Task<HttpResponseMessage> call)
    {
        using var response = await call;
        var text = await response.Content.ReadAsStringAsync();
        if (response.IsSuccessStatusCode || response.Content.Headers.ContentType?.MediaType != "application/problem+json")
            throw new InvalidOperationException($"Not a problem: {(int)response.StatusCode} {response.Content.Headers.ContentType} {text}");
        var problem = JsonSerializer.Deserialize(text, ApiJson.Default.Problem)!;
        return problem.Status == (int)response.StatusCode
            ? problem
            : throw new InvalidOperationException($"The problem says {problem.Status}, the status is {(int)response.StatusCode}.");
    }

    public static async Task OkAsync(this Task<HttpResponseMessage> call)
    {
        using var response = await call;
        if (!response.IsSuccessStatusCode)
            throw new InvalidOperationException($"{(int)response.StatusCode} {await response.Content.ReadAsStringAsync()}");
    }

    public static Task<HttpResponseMessage> PostJsonAsync<T>(this HttpClient client, string path, T body, JsonTypeInfo<T> type) =>
        client.PostAsync(path, JsonContent.Create(body, type));

    public static Task<App> CreateAppAsync(this HttpClient client, string name, string query = "") =>
        client.PostJsonAsync($"/v1/apps{query}", new CreateAppRequest { AppName = name }, ApiJson.Default.CreateAppRequest).ReadAsync(ApiJson.Default.App);

    public static Task<HttpResponseMessage> TryCreateMachineAsync(this HttpClient client, string app, CreateMachineRequest? request = null) =>
        client.PostJsonAsync(
            $"/v1/apps/{app}/machines",
            request ?? new CreateMachineRequest { Config = new MachineConfig { Image = "nginx" } },
            ApiJson.Default.CreateMachineRequest);

    public static Task<Machine> CreateMachineAsync(this HttpClient client, string app, CreateMachineRequest? request = null) =>
        client.TryCreateMachineAsync(app, request).ReadAsync(ApiJson.Default.Machine);

    public static Task<Machine> GetMachineAsync(this HttpClient client, Machine machine) =>
        client.GetAsync(PathOf(machine)).ReadAsync(ApiJson.Default.Machine);

    public static Task<HttpResponseMessage> DoAsync(this HttpClient client, Machine machine, string action, HttpContent? body = null) =>
        client.PostAsync($"{PathOf(machine)}/{action}", body);

    public static Task WaitAsync(this HttpClient client, Machine machine, string state, int timeout = 30) =>
        client.GetAsync($"{PathOf(machine)}/wait?state={state}&timeout={timeout}").OkAsync();

    public static string PathOf(Machine machine) => $"/v1/apps/{machine.App}/machines/{machine.Id}";
}
