using System.Net.Http.Headers;
using System.Text;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Contracts.Api;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

public sealed class ProblemTests : IAsyncLifetime
{
    private ControlPlaneHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await ControlPlaneHost.StartAsync();
        await _host.Client.CreateAppAsync("web");
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData("GET", "/", null, 404, ProblemCodes.NotFound)]
    [InlineData("GET", "/v1/nothing", null, 404, ProblemCodes.NotFound)]
    [InlineData("GET", "/v1/apps/web/machines/x/y/z", null, 404, ProblemCodes.NotFound)]
    [InlineData("PUT", "/v1/apps", "{}", 405, ProblemCodes.MethodNotAllowed)]
    [InlineData("DELETE", "/v1/server", null, 405, ProblemCodes.MethodNotAllowed)]
    [InlineData("GET", "/v1/apps/none", null, 404, ProblemCodes.AppNotFound)]
    [InlineData("GET", "/v1/apps/none/machines", null, 404, ProblemCodes.AppNotFound)]
    [InlineData("GET", "/v1/apps/web/machines/0123456789abcd", null, 404, ProblemCodes.MachineNotFound)]
    [InlineData("GET", "/v1/apps/web/machines/..%2f..", null, 404, ProblemCodes.MachineNotFound)]
    [InlineData("POST", "/v1/apps/web/machines", "{", 400, ProblemCodes.MalformedJson)]
    [InlineData("POST", "/v1/apps/web/machines", "not json", 400, ProblemCodes.MalformedJson)]
    [InlineData("POST", "/v1/apps/web/machines", "", 400, null)]
    [InlineData("POST", "/v1/apps/web/machines", "null", 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/apps/web/machines", "[]", 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/apps/web/machines", "{}", 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/apps/web/machines", """{"config":null}""", 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/apps/web/machines", """{"config":{}}""", 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/apps/web/machines", """{"config":{"image":7}}""", 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/apps/web/machines", """{"config":{"image":"nginx","guest":{"cpus":"2"}}}""", 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/apps/web/machines", """{"name":"Bad_Name","config":{"image":"nginx"}}""", 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/apps/web/machines/0123456789abcd/signal", """{"signal":"SIGNOPE"}""", 400, ProblemCodes.InvalidRequest)]
    [InlineData("GET", "/v1/apps/web/machines/0123456789abcd/wait?state=happy", null, 400, ProblemCodes.InvalidRequest)]
    [InlineData("GET", "/v1/apps/web/machines/0123456789abcd/wait?timeout=soon", null, 400, ProblemCodes.InvalidRequest)]
    [InlineData("GET", "/v1/apps/web/machines/0123456789abcd/events?limit=many", null, 400, ProblemCodes.InvalidRequest)]
    [InlineData("GET", "/v1/apps/web/machines/0123456789abcd/logs?tail=-1", null, 400, ProblemCodes.InvalidRequest)]
    [InlineData("GET", "/v1/apps/web/machines/0123456789abcd/logs?since=yesterday", null, 400, ProblemCodes.InvalidRequest)]
    [InlineData("GET", "/v1/apps/web/machines/0123456789abcd/exec", null, 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/apps", """{"app_name":"-"}""", 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/apps", """{"app_name":"web"}""", 409, ProblemCodes.NameTaken)]
    [InlineData("POST", "/v1/namespaces", """{"name":"default"}""", 409, ProblemCodes.NameTaken)]
    [InlineData("POST", "/v1/images/pull", """{"reference":"no such thing"}""", 400, ProblemCodes.InvalidRequest)]
    [InlineData("POST", "/v1/images/import", "{}", 415, ProblemCodes.UnsupportedMediaType)]
    [InlineData("DELETE", "/v1/images/registry.example:5000/team/app:1", null, 404, ProblemCodes.ImageNotFound)]
    [InlineData("DELETE", "/v1/tokens/none", null, 404, ProblemCodes.NotFound)]
    [InlineData("DELETE", "/v1/namespaces/none", null, 404, ProblemCodes.NamespaceNotFound)]
    public async Task A_bad_request_ends_in_a_problem_with_its_code(string method, string path, string? body, int status, string? code)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        if (body is not null)
            request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        var problem = await _host.Client.SendAsync(request).ProblemAsync();
        Assert.Equal(status, problem.Status);
        if (code is not null)
            Assert.Equal(code, problem.Code);
        Assert.Equal(problem.Detail, problem.Error);
        Assert.DoesNotContain("   at ", problem.Detail, StringComparison.Ordinal);
        Assert.DoesNotContain("Ravel.", problem.Detail, StringComparison.Ordinal);
        Assert.DoesNotContain("System.", problem.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_problem_names_the_field()
    {
        var missing = await PostAsync("""{"config":{"guest":{"cpus":1}}}""").ProblemAsync();
        Assert.Contains("'image'", missing.Detail, StringComparison.Ordinal);
        var range = await PostAsync("""{"config":{"image":"nginx","guest":{"cpus":99}}}""").ProblemAsync();
        Assert.Equal("config.guest.cpus must be 1 to 32, not 99.", range.Detail);
        var type = await PostAsync("""{"config":{"image":"nginx","guest":{"memory_mb":"lots"}}}""").ProblemAsync();
        Assert.Contains("config.guest.memory_mb", type.Detail, StringComparison.Ordinal);
        var unsupported = await PostAsync("""{"config":{"image":"nginx","services":[{"internal_port":80}]}}""").ProblemAsync();
        Assert.Equal("config.services is not supported; leave it out.", unsupported.Detail);
    }

    [Fact]
    public async Task A_body_of_another_media_type_is_refused()
    {
        var problem = await _host.Client.PostAsync("/v1/apps", new StringContent("app_name=web", Encoding.UTF8, "application/x-www-form-urlencoded")).ProblemAsync();
        Assert.Equal(415, problem.Status);
        Assert.Equal(ProblemCodes.UnsupportedMediaType, problem.Code);
    }

    [Fact]
    public async Task A_body_beyond_the_limit_is_refused()
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/apps/web/machines")
        {
            Content = new StringContent("""{"config":{"image":"nginx","env":{"A": " """ + new string('x', 2 << 20) + "\"}}}", Encoding.UTF8, "application/json"),
        };
        // Asks first: the server answers without reading, and who still writes then may see a broken connection before the answer.
        request.Headers.ExpectContinue = true;
        var problem = await _host.Client.SendAsync(request).ProblemAsync();
        Assert.Equal(413, problem.Status);
        Assert.Equal(ProblemCodes.PayloadTooLarge, problem.Code);
    }

    [Fact]
    public async Task JSON_nested_beyond_reason_is_refused()
    {
        var problem = await PostAsync(string.Concat(Enumerable.Repeat("""{"config":""", 50_000))).ProblemAsync();
        Assert.Equal(400, problem.Status);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("rvl_short")]
    [InlineData("rvl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    public async Task Without_a_valid_token_every_path_answers_unauthorized(string? secret)
    {
        using var client = _host.ClientWith(null);
        if (secret is not null)
            client.DefaultRequestHeaders.TryAddWithoutValidation("Authorization", $"Bearer {secret}");
        foreach (var (method, path) in Routes().Append(("GET", "/v1/nothing")).Append(("GET", "/V1/apps")))
        {
            if (path == "/v1/server" && method == "GET" && secret is null)
                continue;
            using var request = new HttpRequestMessage(new HttpMethod(method), path);
            if (method == "POST")
                request.Content = new StringContent("{", Encoding.UTF8, "application/json");
            using var response = await client.SendAsync(request);
            Assert.True((int)response.StatusCode == 401, $"{method} {path}: {(int)response.StatusCode}");
            Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
            Assert.Equal("Bearer", Assert.Single(response.Headers.WwwAuthenticate).Scheme);
        }
    }

    [Fact]
    public async Task Every_path_answers_a_wrong_method_with_a_problem_that_lists_the_right_ones()
    {
        foreach (var (_, path) in Routes().DistinctBy(r => r.Path).Where(r => !r.Path.StartsWith("/v1/images/x", StringComparison.Ordinal)))
        {
            using var response = await _host.Client.SendAsync(new HttpRequestMessage(HttpMethod.Patch, path));
            Assert.True((int)response.StatusCode == 405, $"PATCH {path}: {(int)response.StatusCode}");
            Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
            Assert.NotEmpty(response.Content.Headers.Allow);
        }
    }

    [Fact]
    public async Task The_version_needs_no_token_but_the_node_does()
    {
        using var anonymous = _host.ClientWith(null);
        var little = await anonymous.GetAsync("/v1/server").ReadAsync(ApiJson.Default.ServerInfo);
        Assert.Equal("0.0.0-test", little.Version);
        Assert.Null(little.Node);
        var machine = await _host.Client.CreateMachineAsync("web");
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        var all = await _host.Client.GetAsync("/v1/server").ReadAsync(ApiJson.Default.ServerInfo);
        Assert.Equal("fake", all.Node!.Vmm);
        Assert.Equal(1, all.Node.Allocated.Machines);
    }

    [Fact]
    public async Task A_scheme_other_than_bearer_is_unauthorized()
    {
        using var client = _host.ClientWith(null);
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Basic", "YTpi");
        Assert.Equal(ProblemCodes.Unauthorized, (await client.GetAsync("/v1/apps").ProblemAsync()).Code);
    }

    /// <summary>Every route there is, its parameters filled in.</summary>
    private List<(string Method, string Path)> Routes() =>
        _host.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
            .Where(e => e.RoutePattern.RawText!.StartsWith("/v1", StringComparison.Ordinal))
            .SelectMany(e => e.Metadata.GetRequiredMetadata<HttpMethodMetadata>().HttpMethods.Select(m => (m, Fill(e.RoutePattern.RawText!))))
            .ToList();

    private static string Fill(string pattern) =>
        pattern.Replace("{app}", "web", StringComparison.Ordinal)
            .Replace("{id}", "0123456789abcd", StringComparison.Ordinal)
            .Replace("{**reference}", "x", StringComparison.Ordinal)
            .Replace("{key}", "k", StringComparison.Ordinal)
            .Replace("{name}", "default", StringComparison.Ordinal)
            .TrimEnd('/');

    private Task<HttpResponseMessage> PostAsync(string body) =>
        _host.Client.PostAsync("/v1/apps/web/machines", new StringContent(body, Encoding.UTF8, "application/json"));
}
