using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>
/// Firecracker's HTTP API over its Unix socket. What a Firecracker sends that a guest has taken over is hostile: answers and waits are
/// bounded.
/// </summary>
internal sealed class FirecrackerApi : IDisposable
{
    private const int MaxAnswer = 256 * 1024;

    /// <summary>Characters of an answer that go into an error.</summary>
    private const int MaxWords = 1000;

    /// <summary>A snapshot of a large guest takes as long as the disk does.</summary>
    private static readonly TimeSpan SnapshotTimeout = TimeSpan.FromMinutes(5);

    /// <summary>Anything else is a matter of milliseconds.</summary>
    private static readonly TimeSpan CallTimeout = TimeSpan.FromSeconds(30);

    private readonly HttpClient _http;
    private readonly string _id;

    public FirecrackerApi(string socketPath, string id)
    {
        _id = id;
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) => await UnixListener.ConnectAsync(socketPath, cancellationToken).ConfigureAwait(false),
            UseProxy = false,
            AllowAutoRedirect = false,
            MaxConnectionsPerServer = 2,
        };
        _http = new HttpClient(handler)
        {
            BaseAddress = new Uri("http://localhost"),
            Timeout = Timeout.InfiniteTimeSpan,
            MaxResponseContentBufferSize = MaxAnswer,
        };
    }

    public Task PutAsync<T>(string path, T body, JsonTypeInfo<T> type, CancellationToken cancellationToken) =>
        SendAsync(HttpMethod.Put, path, JsonSerializer.SerializeToUtf8Bytes(body, type), cancellationToken);

    public Task PatchAsync<T>(string path, T body, JsonTypeInfo<T> type, CancellationToken cancellationToken) =>
        SendAsync(HttpMethod.Patch, path, JsonSerializer.SerializeToUtf8Bytes(body, type), cancellationToken);

    /// <summary>Who answers here.</summary>
    public Task<InstanceInfo> DescribeAsync(CancellationToken cancellationToken) =>
        GetAsync("/", FirecrackerJson.Default.InstanceInfo, cancellationToken);

    public async Task<T> GetAsync<T>(string path, JsonTypeInfo<T> type, CancellationToken cancellationToken)
        where T : class
    {
        var bytes = await SendAsync(HttpMethod.Get, path, null, cancellationToken).ConfigureAwait(false);
        try
        {
            return JsonSerializer.Deserialize(bytes, type) ?? throw new JsonException("null");
        }
        catch (JsonException e)
        {
            throw new VmmException($"firecracker VM {_id}: GET {path} was answered with something else than expected: {e.Message}", e);
        }
    }

    /// <summary>True when somebody accepts connections on the socket.</summary>
    public static async Task<bool> IsListeningAsync(string socketPath, CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = await UnixListener.ConnectAsync(socketPath, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    public void Dispose() => _http.Dispose();

    /// <summary>Firecracker's own words in an answer that is no success.</summary>
    internal static string ReadFault(ReadOnlySpan<byte> body)
    {
        try
        {
            var error = JsonSerializer.Deserialize(body, FirecrackerJson.Default.ErrorBody);
            return OneLine(error?.FaultMessage ?? error?.Error ?? "(no reason)");
        }
        catch (JsonException)
        {
            return OneLine(ConsoleText.Decode(body[..Math.Min(body.Length, MaxWords)]));
        }
    }

    /// <summary>As it stands in an error that people and logs read.</summary>
    private static string OneLine(string words) =>
        string.Concat(words.Take(MaxWords).Select(c => char.IsControl(c) ? ' ' : c)).Trim();

    private async Task<byte[]> SendAsync(HttpMethod method, string path, byte[]? body, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null)
        {
            request.Content = new ByteArrayContent(body);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        }
        var limit = path.StartsWith("/snapshot/", StringComparison.Ordinal) ? SnapshotTimeout : CallTimeout;
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(limit);
        try
        {
            using var response = await _http.SendAsync(request, deadline.Token).ConfigureAwait(false);
            var answer = await response.Content.ReadAsByteArrayAsync(deadline.Token).ConfigureAwait(false);
            if (response.IsSuccessStatusCode)
                return answer;
            throw new FirecrackerRefusalException($"firecracker VM {_id} refused {method} {path} ({(int)response.StatusCode}): {ReadFault(answer)}");
        }
        catch (HttpRequestException e)
        {
            throw new VmmException($"firecracker VM {_id} did not answer {method} {path}: {e.InnerException?.Message ?? e.Message}", e);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new VmmException($"firecracker VM {_id} did not answer {method} {path} within {limit.TotalSeconds:0} s", e);
        }
    }
}

/// <summary>Firecracker is well and said no.</summary>
internal sealed class FirecrackerRefusalException(string message) : VmmException(message);
