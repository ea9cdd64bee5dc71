using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;

namespace Ravel.Testing.Cli;

/// <summary>One request as the fake saw it.</summary>
public sealed record SeenRequest(string Method, string Path, string Query, string Body);

/// <summary>
/// A scripted server of Ravel's HTTP API: answers by method and path, everything else is not-found. Requests without its
/// token are refused, and all are kept.
/// </summary>
public sealed class FakeApi : IAsyncDisposable
{
    public const string Token = "secret-token";
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, RequestDelegate> _answers = new();

    private FakeApi(WebApplication app)
    {
        _app = app;
        app.UseWebSockets();
        app.Run(AnswerAsync);
    }

    public ConcurrentQueue<SeenRequest> Requests { get; } = new();

    public string Url { get; private set; } = "";

    /// <summary>For <see cref="RavelProcess"/>: this server, this token, and a home that is nobody's.</summary>
    public Dictionary<string, string> Environment { get; } = [];

    public static async Task<FakeApi> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0);
            kestrel.Limits.MaxRequestBodySize = null;
        });
        var fake = new FakeApi(builder.Build());
        await fake._app.StartAsync();
        fake.Url = fake._app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        fake.Environment["RAVEL_SERVER"] = fake.Url;
        fake.Environment["RAVEL_TOKEN"] = Token;
        fake.Environment["XDG_CONFIG_HOME"] = "/nonexistent/config";
        fake.Environment["RAVEL_DATA"] = "/nonexistent/data";
        fake.Environment["TERM"] = "xterm";
        return fake;
    }

    /// <summary>Answers <c>METHOD /path</c>, without the query.</summary>
    public void On(string request, RequestDelegate answer) => _answers[request] = answer;

    public void OnJson<T>(string request, T value, JsonTypeInfo<T> type) => On(request, http => WriteAsync(http, value, type));

    public void OnProblem(string request, string code, string detail) => On(request, http => ProblemAsync(http, code, detail));

    public void OnLines<T>(string request, JsonTypeInfo<T> type, params T[] lines) => On(request, async http =>
    {
        http.Response.ContentType = "application/x-ndjson";
        foreach (var line in lines)
            await http.Response.WriteAsync(JsonSerializer.Serialize(line, type) + "\n");
    });

    /// <summary>The machines that lists and look-ups know.</summary>
    public void OnMachines(params Machine[] machines)
    {
        OnJson("GET /v1/machines", machines, ApiJson.Default.IReadOnlyListMachine);
        foreach (var machine in machines)
            OnJson($"GET {PathOf(machine)}", machine, ApiJson.Default.Machine);
    }

    public static string PathOf(Machine machine) => $"/v1/apps/{machine.App}/machines/{machine.Id}";

    public static async Task WriteAsync<T>(HttpContext http, T value, JsonTypeInfo<T> type)
    {
        http.Response.ContentType = "application/json";
        await http.Response.WriteAsync(JsonSerializer.Serialize(value, type));
    }

    public static async Task ProblemAsync(HttpContext http, string code, string detail)
    {
        http.Response.StatusCode = ProblemCodes.StatusOf(code);
        http.Response.ContentType = "application/problem+json";
        var problem = new Problem { Title = code, Status = http.Response.StatusCode, Detail = detail, Code = code };
        await http.Response.WriteAsync(JsonSerializer.Serialize(problem, ApiJson.Default.Problem));
    }

    public Task<RavelResult> RavelAsync(params string[] arguments) => RavelProcess.RunAsync(Environment, arguments);

    public RavelProcess StartRavel(params string[] arguments) => RavelProcess.Start(Environment, arguments);

    public async ValueTask DisposeAsync()
    {
        using var now = new CancellationTokenSource(0);
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
    }

    private async Task AnswerAsync(HttpContext http)
    {
        var isUpload = http.Request.ContentType == "application/octet-stream";
        var body = "";
        if (!isUpload && !http.WebSockets.IsWebSocketRequest)
        {
            http.Request.EnableBuffering();
            using var reader = new StreamReader(http.Request.Body, leaveOpen: true);
            body = await reader.ReadToEndAsync();
            http.Request.Body.Position = 0;
        }
        Requests.Enqueue(new SeenRequest(http.Request.Method, http.Request.Path, http.Request.QueryString.Value ?? "", body));
        if (http.Request.Headers.Authorization != $"Bearer {Token}")
            await ProblemAsync(http, ProblemCodes.Unauthorized, "The token is not valid.");
        else if (_answers.TryGetValue($"{http.Request.Method} {http.Request.Path}", out var answer))
            await answer(http);
        else
            await ProblemAsync(http, ProblemCodes.NotFound, $"There is no {http.Request.Path}.");
    }
}
