using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Testing.Network;

/// <summary>Frames out of a tap and into one.</summary>
internal static unsafe partial class TapFrames
{
    private const short ReadyToRead = 1;

    /// <summary>The next frame's length, 0 when none came in <paramref name="milliseconds"/>: a read that waits cannot be interrupted. Below 0 the tap is gone.</summary>
    public static int Read(SafeFileHandle tap, byte[] buffer, int milliseconds)
    {
        var poll = new PollFd { Fd = (int)tap.DangerousGetHandle(), Events = ReadyToRead };
        if (Poll(&poll, 1, milliseconds) <= 0)
            return 0;
        fixed (byte* bytes = buffer)
            return Read(tap, bytes, buffer.Length) is var length and > 0 ? (int)length : -1;
    }

    /// <returns>Whether all of it was taken; a link that is down takes nothing.</returns>
    public static bool Write(SafeFileHandle tap, ReadOnlySpan<byte> frame)
    {
        fixed (byte* bytes = frame)
            return Write(tap, bytes, frame.Length) == frame.Length;
    }

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint Read(SafeFileHandle file, byte* buffer, nint count);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint Write(SafeFileHandle file, byte* buffer, nint count);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int Poll(PollFd* descriptors, nuint count, int timeout);

    [StructLayout(LayoutKind.Sequential)]
    private struct PollFd
    {
        public int Fd;
        public short Events;
        public short Returned;
    }
}
