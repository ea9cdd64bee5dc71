using System.Net;
using System.Net.Sockets;

namespace Ravel.Agent.Networking;

/// <summary>Which of the host's nameservers answers the guests.</summary>
internal static class HostResolver
{
    /// <summary>
    /// The first IPv4 nameserver, or null. systemd-resolved's stub takes packets from the loopback device only, so that the
    /// server behind it has to be asked; any other loopback resolver can be reached by redirection.
    /// </summary>
    internal static IPAddress? Choose(string? resolvConf, string? systemdResolvConf)
    {
        var first = FirstIPv4(resolvConf);
        var isStub = first is not null && first.ToString() is "127.0.0.53" or "127.0.0.54";
        return isStub && FirstIPv4(systemdResolvConf) is { } behind ? behind : first;
    }

    internal static IPAddress? Read(NodeNetworkOptions options) =>
        Choose(ReadOrNull(options.ResolvConf), ReadOrNull(options.SystemdResolvConf));

    private static IPAddress? FirstIPv4(string? text)
    {
        foreach (var line in (text ?? "").Split('\n'))
        {
            var words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words is ["nameserver", var server, ..]
                && IPAddress.TryParse(server, out var address)
                && address.AddressFamily == AddressFamily.InterNetwork
                && !address.Equals(IPAddress.Any))
            {
                return address;
            }
        }
        return null;
    }

    private static string? ReadOrNull(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
