using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Ravel.Linux.Processes;

/// <summary>Open files handed to another process over a Unix socket (unix(7), SCM_RIGHTS).</summary>
public static unsafe partial class DescriptorPassing
{
    private const int SocketLevel = 1;
    private const int Rights = 1;
    private const int NoSignal = 0x4000;

    /// <summary>Sends bytes and with them an open file; the sender keeps its own.</summary>
    /// <exception cref="IOException">Not all was taken.</exception>
    public static void Send(Socket socket, ReadOnlySpan<byte> bytes, SafeHandle file)
    {
        var holdsFile = false;
        var holdsSocket = false;
        try
        {
            file.DangerousAddRef(ref holdsFile);
            socket.SafeHandle.DangerousAddRef(ref holdsSocket);
            fixed (byte* data = bytes)
            {
                var vector = new IoVector { Base = data, Length = (nuint)bytes.Length };
                var control = new ControlMessage
                {
                    // CMSG_LEN: without the padding.
                    Length = (nuint)(sizeof(ControlMessage) - sizeof(int)), // CMSG_LEN: without the padding
                    Level = SocketLevel,
                    Type = Rights,
                    File = (int)file.DangerousGetHandle(),
                };
                var message = new MessageHeader { Vectors = &vector, VectorCount = 1, Control = &control, ControlLength = (nuint)sizeof(ControlMessage) };
                // SAFETY: all it points to is on this stack or pinned until the call returns.
                if (SendMessage((int)socket.SafeHandle.DangerousGetHandle(), &message, NoSignal) != bytes.Length)
                    throw new IOException($"an open file could not be handed over: {Marshal.GetLastPInvokeErrorMessage()}");
            }
        }
        finally
        {
            if (holdsSocket)
                socket.SafeHandle.DangerousRelease();
            if (holdsFile)
                file.DangerousRelease();
        }
    }

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    private static partial nint SendMessage(int socket, MessageHeader* message, int flags);

    /// <summary>struct iovec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct IoVector
    {
        public void* Base;
        public nuint Length;
    }

    /// <summary>struct msghdr, of 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct MessageHeader
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
    }

    /// <summary>struct cmsghdr with one descriptor behind it, padded as CMSG_SPACE says.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct ControlMessage
    {
        public nuint Length;
        public int Level;
        public int Type;
        public int File;
        public int Padding;
    }
}
