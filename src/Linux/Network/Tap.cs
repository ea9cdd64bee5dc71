using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Network;

/// <summary>TAP devices (Documentation/networking/tuntap.rst).</summary>
public static unsafe class Tap
{
    private const nuint SetInterface = 0x400454ca; // TUNSETIFF
    private const nuint SetPersistent = 0x400454cb; // TUNSETPERSIST
    private const nuint SetOwner = 0x400454cc; // TUNSETOWNER
    private const short IsTap = 0x0002;
    private const short NoPacketInformation = 0x1000;
    private const short VirtioHeader = 0x4000;

    /// <summary>IFNAMSIZ without the terminating zero.</summary>
    public const int MaxNameLength = 15;

    /// <summary>
    /// Makes a TAP that stays when nobody has it open. One of that name that exists already is kept.
    /// </summary>
    /// <param name="owner">The user that may open it without privileges; null leaves it to root.</param>
    /// <exception cref="LinuxNetworkException">The kernel refused: no /dev/net/tun, no privilege, or the TAP is open in a VMM.</exception>
    public static void CreatePersistent(string name, uint? owner = null)
    {
        using var device = Attach(name, VirtioHeader);
        Control(device, SetPersistent, 1, name);
        if (owner is { } uid)
            Control(device, SetOwner, uid, name);
    }

    /// <summary>Opens a TAP that is there for a VMM to be handed: frames have a virtio header.</summary>
    /// <exception cref="LinuxNetworkException">The kernel refused, or there is none: opening would make one.</exception>
    public static SafeFileHandle OpenForVmm(string name) => RouteNetlink.IndexOf(name) is null
        ? throw new LinuxNetworkException($"opening tap {name}", Errno.NoDevice)
        : Attach(name, VirtioHeader);

    /// <summary>Opens a TAP as a VMM does: reads and writes are Ethernet frames.</summary>
    /// <exception cref="LinuxNetworkException">The kernel refused.</exception>
    public static SafeFileHandle Open(string name) => Attach(name, 0);

    private static SafeFileHandle Attach(string name, short flags)
    {
        if (name.Length is 0 or > MaxNameLength)
            throw new ArgumentException($"'{name}' is no name for a network interface (1–{MaxNameLength} bytes).", nameof(name));
        var file = NetworkCalls.Open("/dev/net/tun", NetworkCalls.ReadWriteCloseOnExec);
        if (file < 0)
            throw new LinuxNetworkException("opening /dev/net/tun (modprobe tun)", Marshal.GetLastPInvokeError());
        var device = new SafeFileHandle(file, ownsHandle: true);

        var request = new IfReq { Flags = (short)(IsTap | NoPacketInformation | flags) };
        Encoding.ASCII.GetBytes(name, new Span<byte>(request.Name, MaxNameLength));
        if (NetworkCalls.Control(device, SetInterface, &request) == 0)
            return device;
        var errno = Marshal.GetLastPInvokeError();
        device.Dispose();
        throw new LinuxNetworkException($"making tap {name}", errno);
    }

    private static void Control(SafeFileHandle device, nuint request, nuint argument, string name)
    {
        if (NetworkCalls.Control(device, request, argument) != 0)
            throw new LinuxNetworkException($"setting up tap {name}", Marshal.GetLastPInvokeError());
    }
}
