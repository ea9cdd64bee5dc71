using System.Text;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Channel;

/// <summary>
/// A virtio-serial port. It is held open for good: the VMM takes nothing from the host while it is closed. Without a host it hangs up
/// at every look, so that one only looks now and then.
/// </summary>
internal sealed class SerialChannel : HostChannel
{
    private const string Ports = "/sys/class/virtio-ports";
    private const string Devices = "/sys/bus/virtio/devices";
    private const int PortWaitMilliseconds = 10_000;

    /// <summary>Virtio specification 1.2, section 5: device type 3.</summary>
    private const string ConsoleDevice = "0x0003";

    private readonly string _path;

    public SerialChannel(GuestLink link, string path)
        : base(link)
    {
        _path = path;
    }

    public override string Name => _path;

    protected override bool SurvivesViolation => true;

    /// <summary>
    /// The port's bytes and the news that its host left or came travel in different queues: the first bytes of a new host may be
    /// read before the old one is heard to have hung up, and that must not end the new one's session. A host that is
    /// really gone is still gone at the next looks; a new one begins with a preamble anyway. On a busy host the news comes seconds late:
    /// these looks take four (a session given up too early is one that the host misses only when it finds the guest silent, a minute later).
    /// </summary>
    protected override int HangUpsToLose => 44;

    /// <summary>
    /// The device of the port with the link's name; null if the VMM gave us none. A console device tells of its ports only after
    /// its driver has asked, so that with one there the port is waited for.
    /// </summary>
    public static string? FindPort()
    {
        if (!HasConsoleDevice())
            return null;
        for (var waited = 0; waited < PortWaitMilliseconds; waited++)
        {
            foreach (var entry in Entries(Ports))
            {
                var name = FileSystems.ReadFile($"{entry}/name", 256);
                if (name is not null && Encoding.UTF8.GetString(name).Trim() == LinkProtocol.SerialPortName)
                    return $"/dev/{Path.GetFileName(entry)}";
            }
            Descriptors.Poll([], 1);
        }
        return null;
    }

    private static bool HasConsoleDevice()
    {
        foreach (var device in Entries(Devices))
        {
            var id = FileSystems.ReadFile($"{device}/device", 64);
            if (id is not null && Encoding.ASCII.GetString(id).Trim() == ConsoleDevice)
                return true;
        }
        return false;
    }

    private static string[] Entries(string directory) =>
        FileSystems.Exists(directory) ? Directory.GetFileSystemEntries(directory) : [];

    protected override bool TryPrepare()
    {
        if (Descriptor < 0)
            Descriptor = Math.Max(-1, Descriptors.TryOpen(_path, Descriptors.ReadWrite | Descriptors.NonBlocking));
        return Descriptor >= 0;
    }

    protected override void Disconnect()
    {
    }
}
