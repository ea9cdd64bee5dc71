using Ravel.Linux.Network;

namespace Ravel.Agent.Networking;

/// <summary>
/// Lets the host forward between its uplinks and the taps, with the least change: per interface where the kernel can (IPv4
/// always, IPv6 from Linux 6.17), otherwise for all.
/// </summary>
internal static class HostForwarding
{
    /// <summary>Forwards what arrives on one interface while the host as a whole is no IPv6 router (Linux 6.17).</summary>
    internal const string ForceForwarding = "force_forwarding";

    internal static void Enable(IReadOnlyList<string> uplinks)
    {
        if (Sysctl.Read("ipv4/conf/all/forwarding") != "1")
        {
            foreach (var uplink in uplinks)
                WriteIfThere($"ipv4/conf/{uplink}/forwarding", "1");
        }
        if (Sysctl.Read("ipv6/conf/all/forwarding") is null or "1")
            return;
        if (Sysctl.Exists("ipv6/conf/all/" + ForceForwarding))
        {
            foreach (var uplink in uplinks)
                WriteIfThere($"ipv6/conf/{uplink}/{ForceForwarding}", "1");
            return;
        }
        // A router ignores router advertisements, and with them its own default route, unless told otherwise (accept_ra=2).
        foreach (var uplink in uplinks)
        {
            if (Sysctl.Read($"ipv6/conf/{uplink}/accept_ra") == "1")
                WriteIfThere($"ipv6/conf/{uplink}/accept_ra", "2");
        }
        Sysctl.Write("ipv6/conf/all/forwarding", "1");
    }

    /// <summary>An interface may go, or be without the protocol, at any time.</summary>
    private static void WriteIfThere(string name, string value)
    {
        if (Sysctl.Exists(name))
            Sysctl.Write(name, value);
    }
}
