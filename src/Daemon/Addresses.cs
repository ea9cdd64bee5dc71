using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;

namespace Ravel.Daemon;

/// <summary>Addresses of this host, as options say them and as others reach them.</summary>
internal static class Addresses
{
    /// <summary>Of TEST-NET-1 (RFC 5737): nobody, beyond the default route.</summary>
    private static readonly IPEndPoint Outside = new(IPAddress.Parse("192.0.2.1"), 9);

    /// <summary>Unlike <see cref="IPEndPoint.TryParse(string, out IPEndPoint)"/>, wants the port.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out IPEndPoint? endPoint)
    {
        endPoint = null;
        return text.LastIndexOf(':') is var colon and > 0
            && ushort.TryParse(text[(colon + 1)..], out _)
            && IPEndPoint.TryParse(text, out endPoint);
    }

    /// <summary>https://ADDRESS:PORT, as others are told it; null when it is not.</summary>
    public static Uri? TryParseHub(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme == Uri.UriSchemeHttps && uri.PathAndQuery == "/" && uri.UserInfo.Length == 0
            ? uri
            : null;

    /// <summary>How others reach what listens on <paramref name="listen"/>: its own address, or the one with which this host reaches <paramref name="towards"/>.</summary>
    /// <returns>Null: this host has no way there.</returns>
    public static string? Advertised(IPEndPoint listen, Uri? towards)
    {
        if (!listen.Address.Equals(IPAddress.Any) && !listen.Address.Equals(IPAddress.IPv6Any))
            return $"https://{listen}";
        try
        {
            // Connecting a datagram socket sends nothing: the kernel looks the route up.
            var target = towards is null ? Outside : new IPEndPoint(Dns.GetHostAddresses(towards.IdnHost)[0], towards.Port);
            using var socket = new Socket(target.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            socket.Connect(target);
            return $"https://{new IPEndPoint(((IPEndPoint)socket.LocalEndPoint!).Address, listen.Port)}";
        }
        catch (SocketException)
        {
            return null;
        }
    }
}
