using System.Net;
using System.Net.Security;
using System.Net.Sockets;
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
            ConnectCallback = ConnectAsync,
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

    /// <summary>Resolves the name itself, so that what is judged is what is connected to.</summary>
    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var (host, port) = (context.DnsEndPoint.Host, context.DnsEndPoint.Port);
        var addresses = await Dns.GetHostAddressesAsync(host, cancellationToken);
        // Another host than the request's is the proxy, which is the operator's choice.
        if (context.InitialRequestMessage.RequestUri is { } to && string.Equals(to.IdnHost.Trim('[', ']'), host.Trim('[', ']'), StringComparison.OrdinalIgnoreCase))
        {
            var allowed = Array.FindAll(addresses, address => RegistryEndpoint.MayConnect(to, address, options));
            if (allowed.Length == 0 && addresses.Length > 0)
                throw new RefusedAddressException($"{host} is {addresses[0]} here, an address of this host or link; if that is meant, name it in {options.SettingsFile}");
            addresses = allowed;
        }
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(addresses, port, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}

/// <summary>A registry's name leads where a registry has no business.</summary>
internal sealed class RefusedAddressException(string message) : Exception(message);
