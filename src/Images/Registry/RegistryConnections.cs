using System.Net;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;

namespace Ravel.Images.Registry;

/// <summary>
/// The HTTP clients of one pull: one for hosts judged by the system's authorities, and one for each host that has its own.
/// None follows redirects, keeps cookies or changes a body.
/// </summary>
internal sealed class RegistryConnections(RegistryOptions options) : IDisposable
{
    private const int MaxHeaderKilobytes = 64;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, HttpClient> _clients = new(StringComparer.OrdinalIgnoreCase);

    public HttpClient For(Uri address)
    {
        var host = options.Authorities.ContainsKey(address.Authority) ? address.Authority : options.Authorities.ContainsKey(address.Host) ? address.Host : "";
        lock (_lock)
        {
            if (!_clients.TryGetValue(host, out var client))
                _clients[host] = client = Create(host.Length == 0 ? null : options.Authorities[host]);
            return client;
        }
    }

    public void Dispose()
    {
        foreach (var client in _clients.Values)
            client.Dispose();
    }

    private HttpClient Create(X509Certificate2Collection? authorities)
    {
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = options.StallTimeout,
            MaxResponseHeadersLength = MaxHeaderKilobytes,
        };
        if (authorities is not null)
        {
            var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            policy.CustomTrustStore.AddRange(authorities);
            handler.SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = policy };
        }
        var client = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
        client.DefaultRequestHeaders.UserAgent.ParseAdd("ravel/0.1");
        // What is hashed is what is stored, so nothing on the way may compress it.
        client.DefaultRequestHeaders.AcceptEncoding.ParseAdd("identity");
        return client;
    }
}
