using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Ravel.Testing.Images;

/// <summary>
/// A token service that a real registry believes (distribution project, "Token Authentication Specification"): it gives what
/// is asked for to whoever has the password or the identity token, and keeps every request it got.
/// </summary>
public sealed class TokenServer : IAsyncDisposable
{
    public const string UserName = "token-user";
    public const string Password = "token-password";
    public const string IdentityToken = "identity-token";
    public const string Service = "registry of the test";
    public const string Issuer = "ravel-test";

    private readonly WebApplication _application;
    private readonly TestAuthority _authority = new("Ravel's token authority");
    private readonly X509Certificate2 _certificate;
    private readonly ConcurrentQueue<(string Method, string Service, string Scope)> _requests = new();
    private readonly ConcurrentQueue<string> _issued = new();

    private TokenServer(WebApplication application)
    {
        _application = application;
        _certificate = _authority.Issue("tokens");
    }

    public string Realm { get; private set; } = "";

    /// <summary>Who signs what signs the tokens.</summary>
    public string AuthorityPem => _authority.Pem;

    public IReadOnlyList<(string Method, string Service, string Scope)> Requests => [.. _requests];

    /// <summary>Tokens given out, oldest first.</summary>
    public IReadOnlyList<string> Issued => [.. _issued];

    public static async Task<TokenServer> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var application = builder.Build();
        var server = new TokenServer(application);
        application.Run(server.AnswerAsync);
        await application.StartAsync();
        server.Realm = application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single() + "/token";
        return server;
    }

    public async ValueTask DisposeAsync()
    {
        await _application.DisposeAsync();
        _certificate.Dispose();
        _authority.Dispose();
    }

    private async Task AnswerAsync(HttpContext context)
    {
        var isPost = HttpMethods.IsPost(context.Request.Method);
        var form = isPost ? await context.Request.ReadFormAsync() : null;
        string Field(string name) => (form is not null ? form[name] : context.Request.Query[name]).ToString();
        _requests.Enqueue((context.Request.Method, Field("service"), Field("scope")));
        var basic = $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"{UserName}:{Password}"))}";
        var isKnown = isPost
            ? Field("grant_type") == "refresh_token" && Field("refresh_token") == IdentityToken
            : context.Request.Headers.Authorization == basic;
        if (!isKnown)
        {
            context.Response.StatusCode = StatusCodes.Status401Unauthorized;
            return;
        }
        var token = Issue(Field("scope"));
        _issued.Enqueue(token);
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(isPost ? $$"""{ "access_token": "{{token}}", "expires_in": 60 }""" : $$"""{ "token": "{{token}}" }""");
    }

    /// <summary>A JSON web token (RFC 7519), signed with ES256, that carries its certificate.</summary>
    private string Issue(string scope)
    {
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
        var parts = scope.Split(':');
        object[] access = parts.Length == 3 ? [new { type = parts[0], name = parts[1], actions = parts[2].Split(',') }] : [];
        var header = Encode(new { typ = "JWT", alg = "ES256", x5c = new[] { Convert.ToBase64String(_certificate.RawData) } });
        var claims = Encode(new
        {
            iss = Issuer, sub = UserName, aud = Service, exp = now + 300, nbf = now - 10, iat = now, jti = $"{_issued.Count}-{now}", access,
        });
        using var key = _certificate.GetECDsaPrivateKey()!;
        var signature = key.SignData(Encoding.ASCII.GetBytes($"{header}.{claims}"), HashAlgorithmName.SHA256);
        return $"{header}.{claims}.{Base64Url.EncodeToString(signature)}";
    }

    private static string Encode(object content) => Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(content));
}
