using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using System.Security.Authentication;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Ravel.Cli.Errors;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

/// <summary>
/// The HTTP API under <c>/v1</c>, one method per call, in parts by resource. Every failure is a <see cref="CliException"/>: a
/// <see cref="ProblemException"/> when the server refused.
/// </summary>
internal sealed partial class ApiClient : IDisposable
{
    private const int MaxProblemBytes = 256 * 1024;
    private readonly HttpClient _http;
    private readonly SocketsHttpHandler _handler;
    private readonly ServerAddress _address;
    private readonly string? _namespace;

    public ApiClient(ServerAddress address, string? @namespace)
    {
        _address = address;
        _namespace = @namespace;
        _handler = new SocketsHttpHandler { ConnectTimeout = TimeSpan.FromSeconds(10), UseProxy = !address.Url.IsLoopback };
        _http = new HttpClient(_handler, disposeHandler: false) { BaseAddress = address.Url, Timeout = Timeout.InfiniteTimeSpan };
    }

    public ServerAddress Address => _address;

    public void Dispose()
    {
        _http.Dispose();
        _handler.Dispose();
    }

    private async Task<T> GetAsync<T>(string subject, string path, JsonTypeInfo<T> type, CancellationToken cancellationToken)
    {
        using var response = await SendAsync(subject, HttpMethod.Get, path, null, cancellationToken);
        return await ReadAsync(subject, response, type, cancellationToken);
    }

    private async Task<TResult> PostAsync<TBody, TResult>(
        string subject, string path, TBody body, JsonTypeInfo<TBody> bodyType, JsonTypeInfo<TResult> type, CancellationToken cancellationToken)
    {
        using var content = JsonContent.Create(body, bodyType);
        using var response = await SendAsync(subject, HttpMethod.Post, path, content, cancellationToken);
        return await ReadAsync(subject, response, type, cancellationToken);
    }

    /// <summary>A call whose answer carries nothing that is needed.</summary>
    private async Task CallAsync(string subject, HttpMethod method, string path, HttpContent? content, CancellationToken cancellationToken)
    {
        using var response = await SendAsync(subject, method, path, content, cancellationToken);
    }

    /// <summary>The lines of an <c>application/x-ndjson</c> answer as they come.</summary>
    private async IAsyncEnumerable<T> LinesAsync<T>(
        string subject,
        HttpMethod method,
        string path,
        HttpContent? content,
        JsonTypeInfo<T> type,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var response = await SendAsync(subject, method, path, content, cancellationToken);
        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        using var reader = new StreamReader(body);
        while (true)
        {
            T? value;
            try
            {
                var line = await reader.ReadLineAsync(cancellationToken);
                if (line is null)
                    yield break;
                if (line.Length == 0)
                    continue;
                value = JsonSerializer.Deserialize(line, type);
            }
            catch (Exception e) when (e is IOException or HttpRequestException or JsonException)
            {
                throw new CliException(subject, $"the stream from the server broke off ({e.Message.TrimEnd('.')})", "see: ravel doctor");
            }
            if (value is not null)
                yield return value;
        }
    }

    /// <summary>Sends a request; the answer is a success whose body has not been read.</summary>
    private async Task<HttpResponseMessage> SendAsync(
        string subject, HttpMethod method, string path, HttpContent? content, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(method, InNamespace(path)) { Content = content };
        if (_address.Token is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", _address.Token);
        HttpResponseMessage response;
        try
        {
            response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        }
        catch (HttpRequestException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw Unreachable(e);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new CliException("server", $"{_address.Url.GetLeftPart(UriPartial.Authority)} did not answer ({e.Message.TrimEnd('.')})", UpRemedy);
        }
        if (response.IsSuccessStatusCode)
            return response;
        using (response)
            throw new ProblemException(subject, await ReadProblemAsync(response, cancellationToken));
    }

    private string UpRemedy => $"is it up? run: {_address.UpCommand}";

    private CliException Unreachable(HttpRequestException e)
    {
        var where = _address.Url.GetLeftPart(UriPartial.Authority);
        return e.HttpRequestError switch
        {
            HttpRequestError.NameResolutionError => new CliException("server", $"the name in {where} does not resolve", "check --server or RAVEL_SERVER"),
            HttpRequestError.SecureConnectionError => new CliException(
                "server", $"{where} offers no TLS that can be trusted ({(e.InnerException as AuthenticationException)?.Message ?? e.Message})", "check --server"),
            HttpRequestError.ConnectionError => new CliException("server", $"{where} cannot be reached", UpRemedy),
            _ => new CliException("server", $"{where} broke off the connection", UpRemedy),
        };
    }

    private string InNamespace(string path) => _namespace is null
        ? path
        : $"{path}{(path.Contains('?') ? '&' : '?')}namespace={Uri.EscapeDataString(_namespace)}";

    private static async Task<T> ReadAsync<T>(string subject, HttpResponseMessage response, JsonTypeInfo<T> type, CancellationToken cancellationToken)
    {
        try
        {
            return await response.Content.ReadFromJsonAsync(type, cancellationToken) ?? throw new JsonException("null");
        }
        catch (Exception e) when (e is JsonException or NotSupportedException or HttpRequestException or IOException)
        {
            throw new CliException(subject, "the server's answer is not what this version of ravel understands", "compare: ravel version --json");
        }
    }

    /// <summary>The RFC 9457 document of a refusal, or one made from its status when there is none.</summary>
    private static async Task<Problem> ReadProblemAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        try
        {
            if (response.Content.Headers.ContentType?.MediaType is { } type && type.Contains("json", StringComparison.OrdinalIgnoreCase))
            {
                await response.Content.LoadIntoBufferAsync(MaxProblemBytes, cancellationToken);
                if (await response.Content.ReadFromJsonAsync(ApiJson.Default.Problem, cancellationToken) is { } problem)
                    return problem;
            }
        }
        catch (Exception e) when (e is JsonException or HttpRequestException or IOException or NotSupportedException)
        {
            // The status says enough.
        }
        return Problems.FromStatus((int)response.StatusCode, response.ReasonPhrase);
    }
}
