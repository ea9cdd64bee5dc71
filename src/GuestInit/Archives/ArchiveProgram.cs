using System.Formats.Tar;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Ravel.Contracts.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Archives;

/// <summary>
/// What ravel-init is when it is not PID 1: a tar program, started like an exec session, because an image need not have one.
/// <code>ravel-init pack PATH | ravel-init unpack PATH [TOP]</code>
/// </summary>
internal static class ArchiveProgram
{
    public static int Run(string[] arguments)
    {
        try
        {
            switch (arguments)
            {
                case [GuestArchives.Pack, var path]:
                    Pack(path);
                    return 0;
                case [GuestArchives.Unpack, var path]:
                    Unpack(path, null);
                    return 0;
                case [GuestArchives.Unpack, var path, var top]:
                    Unpack(path, top);
                    return 0;
                default:
                    Say($"unknown arguments: {string.Join(' ', arguments)}");
                    return GuestArchives.Failed;
            }
        }
        catch (ArchiveException e)
        {
            Say(e.Message);
            return e.ExitCode;
        }
        catch (Exception e)
        {
            Say(e is SystemCallException or IOException or InvalidDataException ? e.Message : $"{e.GetType().Name}: {e.Message}");
            return GuestArchives.Failed;
        }
    }

    private static void Pack(string path)
    {
        using var output = new BufferedStream(Standard(1, FileAccess.Write), 256 * 1024);
        using (var writer = new TarWriter(output, TarEntryFormat.Pax, leaveOpen: true))
            new TreePacker(writer).Pack(path);
        output.Flush();
    }

    private static void Unpack(string path, string? top)
    {
        using var input = new BufferedStream(Standard(0, FileAccess.Read), 256 * 1024);
        FileSystems.SetUmask(0);
        new TreeUnpacker(path, top).Unpack(input);
        // What follows the end of an archive is nothing, but whoever sends it must not find the pipe closed.
        input.CopyTo(Stream.Null);
    }

    private static FileStream Standard(int descriptor, FileAccess access) =>
        new(new SafeFileHandle(descriptor, ownsHandle: false), access, bufferSize: 0);

    private static void Say(string line) => _ = Descriptors.Write(2, Encoding.UTF8.GetBytes(line.ReplaceLineEndings(" ") + "\n"));
}

/// <summary>An expected refusal with the exit code that tells the host which.</summary>
internal sealed class ArchiveException(int exitCode, string message) : Exception(message)
{
    public int ExitCode { get; } = exitCode;
}
