using System.Net;
using System.Net.Http.Headers;

namespace Ravel.Images.Registry;

/// <summary>
/// Requests to one repository of a registry (OCI distribution specification, "Pulling"): authenticates, retries what
/// passes by itself, and follows redirects without taking credentials along to other hosts.
/// </summary>
internal sealed class RegistryClient : IDisposable
{
    private const int MaxRedirects = 8;

    private readonly HttpClient _http;
    private readonly Uri _endpoint;
    private readonly RegistryOptions _options;
    private readonly TimeProvider _time;
    private readonly RegistryAuthenticator _authenticator;
    private readonly string _name;

    public RegistryClient(ImageReference reference, RegistryOptions options, TimeProvider time)
    {
        _options = options;
        _time = time;
        _name = $"{reference.Registry}/{reference.Repository}";
        _endpoint = RegistryEndpoint.Of(reference.Registry, options);
        _http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = options.StallTimeout,
            MaxResponseHeadersLength = 64,
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
        _http.DefaultRequestHeaders.UserAgent.ParseAdd("ravel/0.1");
        _authenticator = new RegistryAuthenticator(_http, reference.Registry, reference.Repository, options, time);
    }

    /// <summary>Gets a path below <c>/v2/</c>. The caller disposes the response, which is a success (2xx).</summary>
    /// <param name="subject">What is asked for, in messages.</param>
    /// <exception cref="ImageException">
    /// <c>image-not-found</c>, <c>registry-unauthorized</c>, or <c>image-pull-failed</c> after the last try.
    /// </exception>
    public async Task<HttpResponseMessage> GetAsync(
        string path, string subject, Action<HttpRequestHeaders>? headers, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            TimeSpan? retryAfter = null;
            string failure;
            try
            {
                var response = await SendAsync(path, headers, cancellationToken);
                if (response.IsSuccessStatusCode)
                    return response;
                using (response)
                {
                    if (!RegistryRetry.IsTransient(response.StatusCode))
                        throw Refusal(response.StatusCode, subject);
                    failure = $"{(int)response.StatusCode} {response.ReasonPhrase}";
                    retryAfter = RetryAfter(response);
                }
            }
            catch (Exception e) when (e is not ImageException && RegistryRetry.IsTransient(e))
            {
                failure = Reason(e);
            }
            catch (HttpRequestException e)
            {
                throw new ImageException("image-pull-failed", $"{_endpoint.Authority} cannot be asked for {subject}: {Reason(e)}", e);
            }
            if (attempt >= _options.Attempts)
                throw new ImageException("image-pull-failed", $"{_endpoint.Authority} did not give {subject} in {attempt} tries: {failure}");
            await Task.Delay(RegistryRetry.Delay(_options, attempt, retryAfter, Random.Shared.NextDouble()), _time, cancellationToken);
        }
    }

    public void Dispose()
    {
        _authenticator.Dispose();
        _http.Dispose();
    }

    /// <summary>One try: authenticates once or twice (a token may have run out) and follows redirects.</summary>
    private async Task<HttpResponseMessage> SendAsync(
        string path, Action<HttpRequestHeaders>? headers, CancellationToken cancellationToken)
    {
        for (var challenges = 0; ; challenges++)
        {
            var authorization = _authenticator.Current;
            var response = await FollowAsync(new Uri(_endpoint, "/v2/" + path), headers, authorization, cancellationToken);
            if (response.StatusCode != HttpStatusCode.Unauthorized || challenges == 2)
                return response;
            var asked = response.Headers.NonValidated.TryGetValues("WWW-Authenticate", out var values) ? values.ToList() : [];
            response.Dispose();
            await _authenticator.AnswerAsync(asked, authorization, cancellationToken);
        }
    }

    private async Task<HttpResponseMessage> FollowAsync(
        Uri address, Action<HttpRequestHeaders>? headers, AuthenticationHeaderValue? authorization, CancellationToken cancellationToken)
    {
        for (var redirects = 0; ; redirects++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, address);
            headers?.Invoke(request.Headers);
            // A redirect to another host carries its own permission; ours is none of its business.
            if (IsEndpoint(address))
                request.Headers.Authorization = authorization;
            using var stall = new CancellationTokenSource(_options.StallTimeout, _time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, stall.Token);
            HttpResponseMessage response;
            try
            {
                response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, either.Token);
            }
            catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
            {
                throw new TimeoutException($"no answer within {_options.StallTimeout.TotalSeconds:0} s", e);
            }
            if ((int)response.StatusCode is not (301 or 302 or 303 or 307 or 308) || response.Headers.Location is not { } location)
                return response;
            response.Dispose();
            var next = new Uri(address, location);
            if (redirects == MaxRedirects)
                throw new ImageException("image-pull-failed", $"{_endpoint.Authority} redirects over {MaxRedirects} times");
            if (next.Scheme != "https" && !(next.Scheme == "http" && RegistryEndpoint.IsPlainHttp(next.Authority, _options)))
                throw new ImageException("image-pull-failed", $"{_endpoint.Authority} redirects to {next.Scheme}://{next.Authority}, which has no TLS");
            address = next;
        }
    }

    private bool IsEndpoint(Uri address) => address.Scheme == _endpoint.Scheme && address.Authority == _endpoint.Authority;

    private ImageException Refusal(HttpStatusCode status, string subject) => status switch
    {
        HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden =>
            new ImageException("registry-unauthorized", $"{_endpoint.Authority} refuses {subject}; log in with: docker login {_endpoint.Authority}"),
        HttpStatusCode.NotFound => new ImageException("image-not-found", $"{_endpoint.Authority} has no {subject}"),
        _ => new ImageException("image-pull-failed", $"{_endpoint.Authority} answers {(int)status} for {subject} of {_name}"),
    };

    private TimeSpan? RetryAfter(HttpResponseMessage response) => response.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } => date - _time.GetUtcNow(),
        _ => null,
    };

    private static string Reason(Exception error) => error.InnerException is { } inner ? $"{error.Message} {inner.Message}" : error.Message;
}
