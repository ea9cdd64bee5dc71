using System.Collections.Concurrent;
using System.Net.NetworkInformation;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Ravel.Agent.Networking;
using Ravel.Linux.Network;

namespace Ravel.Testing.Network;

/// <summary>
/// A guest without a VM: a network namespace with an eth0 of its own whose frames are carried to and from the host's tap, as a
/// VMM does. Frames can also be forged.
/// </summary>
public sealed class TapGuest : IDisposable
{
    private readonly SafeFileHandle _hostTap;
    private readonly SafeFileHandle _guestTap;
    private readonly Thread _toGuest;
    private readonly Thread _toHost;
    private readonly BlockingCollection<byte[]> _seen = new(4096);
    private volatile bool _stopping;

    private TapGuest(InstanceNetwork network, NetworkNamespaceThread inside, SafeFileHandle hostTap, SafeFileHandle guestTap)
    {
        Network = network;
        Inside = inside;
        _hostTap = hostTap;
        _guestTap = guestTap;
        _toGuest = new Thread(() => Carry(_hostTap, _guestTap, _seen)) { IsBackground = true };
        _toHost = new Thread(() => Carry(_guestTap, _hostTap, null)) { IsBackground = true };
        _toGuest.Start();
        _toHost.Start();
    }

    public InstanceNetwork Network { get; }

    /// <summary>The guest's namespace.</summary>
    public NetworkNamespaceThread Inside { get; }

    /// <summary>Frames that came out of the tap, oldest first.</summary>
    public BlockingCollection<byte[]> Seen => _seen;

    /// <summary>Starts a guest on a tap of <paramref name="host"/> and configures it as its init would.</summary>
    public static async Task<TapGuest> StartAsync(TestHost host, InstanceNetwork network)
    {
        var hostTap = await host.Host.RunAsync(() => Tap.Open(network.Tap));
        var inside = new NetworkNamespaceThread("guest of " + network.Tap);
        var guestTap = await inside.RunAsync(() => Tap.Open("eth0"));
        var guest = new TapGuest(network, inside, hostTap, guestTap);
        await inside.RunAsync(async () =>
        {
            await TestHost.IpAsync("link set lo up");
            await TestHost.IpAsync($"link set eth0 address {network.Mac} mtu {network.Mtu}");
            await TestHost.IpAsync("link set eth0 up");
            await TestHost.IpAsync($"addr add {network.AddressV4} dev eth0");
            await TestHost.IpAsync($"addr add {network.AddressV6} dev eth0 nodad");
            await TestHost.IpAsync($"route add {network.GatewayV4} dev eth0");
            await TestHost.IpAsync($"route add default via {network.GatewayV4}");
            await TestHost.IpAsync($"route add default via {network.GatewayV6} dev eth0");
        });
        return guest;
    }

    /// <summary>Puts a frame on the tap as a guest's driver would, whatever is in it.</summary>
    public void Send(ReadOnlySpan<byte> frame)
    {
        if (!TapFrames.Write(_hostTap, frame))
            throw new IOException($"{Network.Tap} took no frame: error {Marshal.GetLastPInvokeError()}");
    }

    public byte[] Mac => PhysicalAddress.Parse(Network.Mac).GetAddressBytes();

    public void Dispose()
    {
        _stopping = true;
        _toGuest.Join();
        _toHost.Join();
        _hostTap.Dispose();
        _guestTap.Dispose();
        Inside.Dispose();
        _seen.Dispose();
    }

    private void Carry(SafeFileHandle from, SafeFileHandle to, BlockingCollection<byte[]>? seen)
    {
        var buffer = new byte[65536];
        while (!_stopping)
        {
            var length = TapFrames.Read(from, buffer, milliseconds: 50);
            if (length < 0)
                return; // the tap was removed under the guest
            if (length == 0)
                continue;
            seen?.TryAdd(buffer[..length]);
            _ = TapFrames.Write(to, buffer.AsSpan(0, length));
        }
    }
}
