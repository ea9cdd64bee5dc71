using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Ravel.Images.Manifests;

namespace Ravel.Images.Registry;

/// <summary>
/// Answers a registry's challenges for one repository: Basic with the user's credentials, Bearer with a token fetched for
/// pulling (distribution project, "Token Authentication Specification" and "OAuth2 Token Authentication"). Messages name
/// hosts and users, never a password or a token.
/// </summary>
internal sealed class RegistryAuthenticator(
    RegistryConnections connections, RegistryPlace place, RegistryOptions options, TimeProvider time) : IDisposable
{
    private const int MaxAnswerBytes = 256 * 1024;

    /// <summary>Longer ones do not fit into the header that carries them to any registry.</summary>
    private const int MaxTokenLength = 32 * 1024;

    private readonly SemaphoreSlim _gate = new(1, 1);
    private volatile AuthenticationHeaderValue? _current;

    /// <summary>What requests carry at present; null before the registry asked for anything.</summary>
    public AuthenticationHeaderValue? Current => _current;

    public void Dispose() => _gate.Dispose();

    /// <summary>Gets an answer to a challenge. Layers that are refused together share one.</summary>
    /// <param name="challenges">Values of <c>WWW-Authenticate</c>.</param>
    /// <param name="refused">What the refused request carried.</param>
    /// <exception cref="ImageException"><c>registry-unauthorized</c>: there is no answer, or the same was refused before.</exception>
    public async Task AnswerAsync(
        IEnumerable<string> challenges, AuthenticationHeaderValue? refused, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            if (!ReferenceEquals(_current, refused))
                return;
            var parsed = challenges.SelectMany(AuthenticationChallenge.Parse).ToList();
            var credentials = await DockerCredentials.FindAsync(place.Host, options, cancellationToken);
            if (parsed.FirstOrDefault(challenge => challenge.Scheme == "bearer") is { } bearer)
                _current = new AuthenticationHeaderValue("Bearer", await FetchTokenAsync(bearer, credentials, cancellationToken));
            else if (parsed.Any(challenge => challenge.Scheme == "basic"))
                _current = BasicAnswer(credentials, refused);
            else
                throw Refused($"{place.Host} refuses access in a way Ravel does not know; it knows Basic and Bearer");
        }
        finally
        {
            _gate.Release();
        }
    }

    private AuthenticationHeaderValue BasicAnswer(RegistryCredentials? credentials, AuthenticationHeaderValue? refused)
    {
        if (credentials is not { UserName.Length: > 0 })
            throw Refused($"{place.Host} asks for a password for {place.Repository}; log in with: docker login {place.Host}");
        return refused is null
            ? Basic(credentials)
            : throw Refused($"{place.Host} refuses the password of {credentials.UserName} for {place.Repository}; log in again with: docker login {place.Host}");
    }

    private async Task<string> FetchTokenAsync(
        AuthenticationChallenge challenge, RegistryCredentials? credentials, CancellationToken cancellationToken)
    {
        if (!challenge.Parameters.TryGetValue("realm", out var realm) || !Uri.TryCreate(realm, UriKind.Absolute, out var uri)
            || uri.Scheme is not ("https" or "http"))
            throw Refused($"{place.Host} asks for a token, but not where to get it");
        if (!RegistryEndpoint.MaySendTo(place.Endpoint, uri, options))
        {
            throw Refused(
                $"{place.Host} asks for a token of {uri.Authority} without TLS; if that is right, name {uri.Authority} with \"http\": true in {options.SettingsFile}");
        }

        var fields = new List<KeyValuePair<string, string>>();
        if (challenge.Parameters.TryGetValue("service", out var service))
            fields.Add(new("service", service));
        fields.Add(new("scope", $"repository:{place.Repository}:pull"));

        using var stall = new CancellationTokenSource(options.StallTimeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, stall.Token);
        try
        {
            using var request = TokenRequest(uri, fields, credentials);
            using var response = await connections.For(uri).SendAsync(request, HttpCompletionOption.ResponseHeadersRead, either.Token);
            if (RegistryRetry.IsTransient(response.StatusCode))
                throw new HttpRequestException($"{uri.Authority} answers {(int)response.StatusCode} when asked for a token");
            if (!response.IsSuccessStatusCode)
            {
                throw Refused(
                    $"{uri.Authority} answers {(int)response.StatusCode} when asked for a token for {place.Host}/{place.Repository}; log in with: docker login {place.Host}");
            }
            await using var stream = await response.Content.ReadAsStreamAsync(either.Token);
            return TokenIn(await BoundedContent.ReadAsync(stream, MaxAnswerBytes, $"the token from {uri.Authority}", either.Token, "registry-unauthorized"))
                ?? throw Refused($"{uri.Authority} answers without a token for {place.Host}/{place.Repository}; check the registry's token service");
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"{uri.Authority} gave no token within {options.StallTimeout.TotalSeconds:0.#} s", e);
        }
    }

    /// <returns>Null when there is none that could be sent.</returns>
    private static string? TokenIn(ReadOnlyMemory<byte> content)
    {
        try
        {
            var answer = UntrustedJson.Parse(content);
            foreach (var name in (string[])["token", "access_token"])
            {
                if (ManifestReader.Text(answer, name) is { Length: > 0 and <= MaxTokenLength } value && !value.AsSpan().ContainsAnyExceptInRange('!', '~'))
                    return value;
            }
        }
        catch (JsonException)
        {
            // Then it is no token either.
        }
        return null;
    }

    private static HttpRequestMessage TokenRequest(
        Uri realm, List<KeyValuePair<string, string>> fields, RegistryCredentials? credentials)
    {
        if (credentials?.IdentityToken is { Length: > 0 } identity)
        {
            return new HttpRequestMessage(HttpMethod.Post, realm)
            {
                Content = new FormUrlEncodedContent(
                    [.. fields, new("grant_type", "refresh_token"), new("client_id", "ravel"), new("refresh_token", identity)]),
            };
        }
        var query = string.Join('&', fields.Select(field => $"{field.Key}={Uri.EscapeDataString(field.Value)}"));
        var address = new UriBuilder(realm);
        address.Query = address.Query.Length > 1 ? $"{address.Query[1..]}&{query}" : query;
        var request = new HttpRequestMessage(HttpMethod.Get, address.Uri);
        if (credentials is not null)
            request.Headers.Authorization = Basic(credentials);
        return request;
    }

    private static AuthenticationHeaderValue Basic(RegistryCredentials credentials) =>
        new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{credentials.UserName}:{credentials.Password}")));

    private static ImageException Refused(string message) => new("registry-unauthorized", RegistryFailure.OneLine(message));
}
