using System.Text;
using Ravel.Contracts.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Setup;

/// <summary>The files that say who and where the machine is; the image's own would be another's.</summary>
internal static class EtcFiles
{
    public static void Write(GuestConfig config)
    {
        Write("/etc/hostname", config.Hostname + "\n");
        Write("/etc/hosts", Hosts(config.Hostname, config.Network));
        if (config.Network is { Nameservers.Count: > 0 } network)
            Write("/etc/resolv.conf", Resolver(network));
    }

    internal static string Hosts(string hostname, NetworkConfig? network)
    {
        var text = new StringBuilder("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        if (network is { Addresses.Count: > 0 })
        {
            foreach (var address in network.Addresses)
                text.Append(address.Split('/')[0]).Append('\t').Append(hostname).Append('\n');
        }
        else
        {
            text.Append("127.0.1.1\t").Append(hostname).Append('\n');
        }
        return text.ToString();
    }

    internal static string Resolver(NetworkConfig network)
    {
        var text = new StringBuilder();
        if (network.SearchDomains.Count > 0)
            text.Append("search ").AppendJoin(' ', network.SearchDomains).Append('\n');
        foreach (var server in network.Nameservers)
            text.Append("nameserver ").Append(server).Append('\n');
        return text.ToString();
    }

    private static void Write(string path, string text) => FileSystems.WriteFile(path, Encoding.UTF8.GetBytes(text));
}
