using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Ravel.Images.Manifests;

namespace Ravel.Images.Registry;

/// <summary>
/// Answers a registry's challenges for one repository: Basic with the user's credentials, Bearer with a token fetched for
/// pulling (distribution project, "Token Authentication Specification" and "OAuth2 Token Authentication").
/// </summary>
internal sealed class RegistryAuthenticator(
    HttpClient http, string registry, string repository, RegistryOptions options, TimeProvider time) : IDisposable
{
    private const int MaxTokenBytes = 256 * 1024;

    private readonly SemaphoreSlim _gate = new(1, 1);
    private volatile AuthenticationHeaderValue? _current;

    /// <summary>What requests carry at present; null before the registry asked for anything.</summary>
    public AuthenticationHeaderValue? Current => _current;

    public void Dispose() => _gate.Dispose();

    /// <summary>Gets an answer to a challenge. Layers that are refused together share one.</summary>
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
            var parsed = challenges.Select(AuthenticationChallenge.Parse).OfType<AuthenticationChallenge>().ToList();
            var credentials = await DockerCredentials.FindAsync(registry, options.DockerConfigFile, cancellationToken);
            if (parsed.FirstOrDefault(challenge => challenge.Scheme == "bearer") is { } bearer)
                _current = new AuthenticationHeaderValue("Bearer", await FetchTokenAsync(bearer, credentials, cancellationToken));
            else if (parsed.Any(challenge => challenge.Scheme == "basic"))
                _current = BasicAnswer(credentials, refused);
            else
                throw Refused($"{registry} refuses access in a way Ravel does not know");
        }
        finally
        {
            _gate.Release();
        }
    }

    private AuthenticationHeaderValue BasicAnswer(RegistryCredentials? credentials, AuthenticationHeaderValue? refused)
    {
        if (credentials is not { UserName.Length: > 0 })
            throw Refused($"{registry} asks for a password for {repository}; log in with: docker login {registry}");
        return refused is null
            ? Basic(credentials)
            : throw Refused($"{registry} refuses the password of {credentials.UserName} for {repository}; log in again");
    }

    private async Task<string> FetchTokenAsync(
        AuthenticationChallenge challenge, RegistryCredentials? credentials, CancellationToken cancellationToken)
    {
        if (!challenge.Parameters.TryGetValue("realm", out var realm) || !Uri.TryCreate(realm, UriKind.Absolute, out var uri)
            || uri.Scheme is not ("https" or "http"))
            throw Refused($"{registry} asks for a token, but not where to get it");
        if (credentials is not null && uri.Scheme == "http" && !RegistryEndpoint.IsPlainHttp(uri.Authority, options))
            throw Refused($"{registry} asks to send the password to {uri.Authority} without TLS");

        var fields = new List<KeyValuePair<string, string>>();
        if (challenge.Parameters.TryGetValue("service", out var service))
            fields.Add(new("service", service));
        fields.Add(new("scope", $"repository:{repository}:pull"));

        using var stall = new CancellationTokenSource(options.StallTimeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, stall.Token);
        try
        {
            using var request = TokenRequest(uri, fields, credentials);
            using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, either.Token);
            if (response.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.BadRequest)
                throw Refused($"{uri.Authority} gives no token for {registry}/{repository}; log in with: docker login {registry}");
            response.EnsureSuccessStatusCode();
            var content = await BoundedContent.ReadAsync(response, MaxTokenBytes, $"the token from {uri.Authority}", either.Token);
            var answer = UntrustedJson.Parse(content);
            foreach (var name in (string[])["token", "access_token"])
            {
                if (ManifestReader.Text(answer, name) is { Length: > 0 } value && value.All(c => c is > ' ' and <= '~'))
                    return value;
            }
            throw Refused($"{uri.Authority} answered without a token for {registry}/{repository}");
        }
        catch (JsonException e)
        {
            throw new ImageException("registry-unauthorized", $"{uri.Authority} answered with something that is no token", e);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"{uri.Authority} gave no token within {options.StallTimeout.TotalSeconds:0} s", e);
        }
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

    private static ImageException Refused(string message) => new("registry-unauthorized", message);
}
