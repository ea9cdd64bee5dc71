namespace Ravel.Linux.Network;

/// <summary>
/// Kernel settings below /proc/sys/net, of the network namespace of the calling thread (sysctl(8)). Names are paths below
/// it: <c>ipv4/conf/eth0/forwarding</c>.
/// </summary>
public static class Sysctl
{
    private const string Root = "/proc/sys/net/";

    public static bool Exists(string name) => File.Exists(Root + name);

    /// <summary>The value, or null when this kernel has no such setting.</summary>
    public static string? Read(string name)
    {
        try
        {
            return File.ReadAllText(Root + name).Trim();
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    /// <summary>Writes the value unless it is that already, so that a read-only /proc/sys with the right values will do.</summary>
    /// <exception cref="IOException">There is no such setting, or it may not be written.</exception>
    public static void Write(string name, string value)
    {
        if (Read(name) == value)
            return;
        try
        {
            using var file = new FileStream(Root + name, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
            file.Write(System.Text.Encoding.ASCII.GetBytes(value));
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw new IOException($"{Root}{name} could not be set to {value}: {e.Message}", e);
        }
    }
}
