using System.Net;
using System.Net.Http.Headers;

namespace Ravel.Images.Registry;

/// <summary>
/// Requests to one repository of a registry (OCI distribution specification, "Pulling"): authenticates, retries what
/// passes by itself, and follows redirects without taking credentials along to other hosts.
/// </summary>
/// <param name="attempts">Tries of one request.</param>
internal sealed class RegistryClient(
    RegistryPlace place, RegistryConnections connections, RegistryOptions options, TimeProvider time, int attempts) : IDisposable
{
    private const int MaxRedirects = 8;

    private readonly RegistryAuthenticator _authenticator = new(connections, place, options, time);

    public RegistryPlace Place => place;

    public int Attempts => attempts;

    /// <summary>Gets a path below <c>/v2/REPOSITORY/</c>. The caller disposes the response.</summary>
    /// <param name="subject">What is asked for, in messages: names the image.</param>
    /// <param name="acceptsRefusedRange">Returns 416 as an answer, too; else the answer is a success.</param>
    /// <exception cref="ImageException">
    /// <c>image-not-found</c>, <c>registry-unauthorized</c>, or <c>image-pull-failed</c> after the last try.
    /// </exception>
    public async Task<HttpResponseMessage> GetAsync(
        string path, string subject, Action<HttpRequestHeaders>? headers, bool acceptsRefusedRange, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            TimeSpan? retryAfter = null;
            string failure;
            Exception? cause = null;
            try
            {
                var response = await SendAsync(path, headers, cancellationToken);
                if (response.IsSuccessStatusCode || (acceptsRefusedRange && response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable))
                    return response;
                using (response)
                {
                    if (!RegistryRetry.IsTransient(response.StatusCode))
                        throw Refusal(response.StatusCode, subject);
                    retryAfter = RetryAfter(response);
                    failure = Failure(response.StatusCode, retryAfter);
                }
            }
            catch (Exception e) when (e is not ImageException && RegistryFailure.IsTransient(e))
            {
                failure = RegistryFailure.Explain(e, place.Endpoint.Authority, options);
                cause = e;
            }
            catch (HttpRequestException e)
            {
                throw new ImageException(
                    "image-pull-failed", $"{place.Host} cannot be asked for {subject}: {RegistryFailure.Explain(e, place.Endpoint.Authority, options)}", e);
            }
            if (attempt >= attempts)
            {
                var message = $"{place.Host} did not give {subject} in {attempt} {(attempt == 1 ? "try" : "tries")}: {failure}";
                throw cause is null ? new ImageException("image-pull-failed", message) : new ImageException("image-pull-failed", message, cause);
            }
            await Task.Delay(RegistryRetry.Delay(options, attempt, retryAfter, Random.Shared.NextDouble()), time, cancellationToken);
        }
    }

    public void Dispose() => _authenticator.Dispose();

    /// <summary>One try: authenticates once or twice (a token may have run out) and follows redirects.</summary>
    private async Task<HttpResponseMessage> SendAsync(
        string path, Action<HttpRequestHeaders>? headers, CancellationToken cancellationToken)
    {
        for (var challenges = 0; ; challenges++)
        {
            var authorization = _authenticator.Current;
            var response = await FollowAsync(new Uri(place.Endpoint, $"/v2/{place.Repository}/{path}"), headers, authorization, cancellationToken);
            if (response.StatusCode != HttpStatusCode.Unauthorized || challenges == 2)
                return response;
            // Whom the registry redirects to may say no, but not where the registry's password is to be sent for a token.
            if (response.RequestMessage?.RequestUri is not { } answerer || !IsPlace(answerer))
                return response;
            var asked = response.Headers.NonValidated.TryGetValues("WWW-Authenticate", out var values) ? values.ToList() : [];
            response.Dispose();
            await _authenticator.AnswerAsync(asked, authorization, cancellationToken);
        }
    }

    private async Task<HttpResponseMessage> FollowAsync(
        Uri address, Action<HttpRequestHeaders>? headers, AuthenticationHeaderValue? authorization, CancellationToken cancellationToken)
    {
        var visited = new HashSet<Uri>();
        while (true)
        {
            visited.Add(address);
            using var request = new HttpRequestMessage(HttpMethod.Get, address);
            headers?.Invoke(request.Headers);
            // A redirect to another host carries its own permission; ours is none of its business.
            if (IsPlace(address))
                request.Headers.Authorization = authorization;
            using var stall = new CancellationTokenSource(options.StallTimeout, time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, stall.Token);
            HttpResponseMessage response;
            try
            {
                response = await connections.For(address).SendAsync(request, HttpCompletionOption.ResponseHeadersRead, either.Token);
            }
            catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
            {
                throw new TimeoutException($"no answer within {options.StallTimeout.TotalSeconds:0.#} s", e);
            }
            if ((int)response.StatusCode is not (301 or 302 or 303 or 307 or 308))
                return response;
            response.Dispose();
            address = Next(address, response.Headers.Location, visited);
        }
    }

    private bool IsPlace(Uri address) => address.Scheme == place.Endpoint.Scheme && address.Authority == place.Endpoint.Authority;

    /// <summary>Where a redirect leads, unless it leads nowhere or where nobody should be sent.</summary>
    private Uri Next(Uri address, Uri? location, HashSet<Uri> visited)
    {
        if (location is null || !Uri.TryCreate(address, location, out var next))
            throw Misdirected("to what is no address");
        if (visited.Contains(next))
            throw Misdirected($"in a circle, back to {next.Authority}");
        if (visited.Count > MaxRedirects)
            throw Misdirected($"over {MaxRedirects} times");
        return RegistryEndpoint.MaySendTo(place.Endpoint, next, options)
            ? next
            : throw Misdirected(
                $"to {next.Scheme}://{next.Authority}, which has no TLS; if that is right, name {next.Authority} with \"http\": true in {options.SettingsFile}");
    }

    private ImageException Misdirected(string where) =>
        new("image-pull-failed", RegistryFailure.OneLine($"{place.Host} redirects requests for {place.Repository} {where}"));

    private ImageException Refusal(HttpStatusCode status, string subject) => status switch
    {
        HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden =>
            new ImageException("registry-unauthorized", $"{place.Host} refuses {subject}; log in with: docker login {place.Host}"),
        HttpStatusCode.NotFound => new ImageException("image-not-found", $"{place.Host} has no {subject}; check its name and tag"),
        _ => new ImageException("image-pull-failed", $"{place.Host} answers {(int)status} for {subject}, which no registry should; check its address"),
    };

    private static string Failure(HttpStatusCode status, TimeSpan? retryAfter)
    {
        var wait = retryAfter is { } asked && asked > TimeSpan.Zero ? $" and asks to wait {Math.Ceiling(asked.TotalSeconds):0} s" : "";
        return status == HttpStatusCode.TooManyRequests
            ? $"it answers 429, too many requests{wait}; log in, use a mirror, or try later"
            : $"it answers {(int)status}{wait}; try later";
    }

    private TimeSpan? RetryAfter(HttpResponseMessage response) => response.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } => date - time.GetUtcNow(),
        _ => null,
    };
}
