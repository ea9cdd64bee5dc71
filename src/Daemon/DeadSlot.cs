using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;
using Ravel.Agent.Hosting;
using Ravel.Agent.Networking;
using Ravel.Linux.Cgroups;

namespace Ravel.Daemon;

/// <summary>What a killed raveld left on the host under the names of its slot.</summary>
internal static class DeadSlot
{
    /// <summary>Removes taps, packet rules and control groups, unless a VMM runs on: then its own raveld will adopt it.</summary>
    /// <returns>Whether nothing is left.</returns>
    public static async Task<bool> ClearAsync(HostSlot slot)
    {
        try
        {
            var group = CgroupTree.Detect(Path.GetDirectoryName(slot.Cgroup)!).Open(slot.Number.ToString(CultureInfo.InvariantCulture));
            if (group.ListProcesses().Count > 0)
                return false;
            using var network = new NodeNetwork(slot, new NodeNetworkOptions(), NullLogger<NodeNetwork>.Instance);
            await network.RemoveEverythingAsync(CancellationToken.None);
            if (group.Exists)
                await group.RemoveAsync(TimeProvider.System, CancellationToken.None);
            return true;
        }
        catch (Exception e) when (e is NetworkException or IOException or UnauthorizedAccessException)
        {
            // Not this raveld's trouble: the next start of any tries again.
            Console.Error.WriteLine($"raveld run: {slot.RunDirectory} of a raveld that is gone stays: {e.Message}");
            return false;
        }
    }
}
