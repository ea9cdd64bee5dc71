namespace Ravel.Contracts.Link;

/// <summary>
/// Constants of the guest link: framed streams over one duplex byte channel between a guest and its agent.
/// <code>
/// session   = preamble frame*                         (each direction)
/// preamble  = "RAVELNK1" nonce[16]                    host first; the guest echoes the nonce
/// frame     = length:u32le type:u8 flags:u8 reserved:u16le stream:u32le offset:u64le crc:u32le payload[length]
/// </code>
/// <c>crc</c> is CRC-32 (IEEE) over the header with <c>crc</c> = 0, then the payload. Over a channel that may
/// hold bytes of an earlier connection (<c>IsLossy</c>), the host first writes <see cref="FlushLength"/> zero bytes: whatever
/// frame the guest was in the middle of ends there with a wrong CRC, and the guest hunts for the preamble.
/// The host, in turn, discards all it reads until its own nonce comes back.
/// </summary>
public static class LinkProtocol
{
    /// <summary>The protocol this build speaks; both sides say the range they understand in their hello.</summary>
    public const int Version = 2;

    public const int MinimumVersion = 1;

    public static ReadOnlySpan<byte> Magic => "RAVELNK1"u8;

    public const int NonceLength = 16;

    public const int HeaderLength = 24;

    /// <summary>Longest payload of a frame in bytes; a longer one ends the session.</summary>
    public const int MaxPayload = 32 * 1024;

    public const int FlushLength = HeaderLength + MaxPayload;

    /// <summary>Longest control message in bytes (a configuration with a large environment); it spans frames.</summary>
    public const int MaxControlMessage = 4 * 1024 * 1024;

    /// <summary>Bytes a sender may have outstanding on a stream before the first window frame.</summary>
    public const int InitialWindow = 256 * 1024;

    /// <summary>Guest port of the link over vsock (Firecracker: the host listens on <c>uds_PORT</c>).</summary>
    public const int VsockPort = 1024;

    /// <summary>Name of the virtio-serial port (/dev/virtio-ports/NAME, /sys/class/virtio-ports/*/name).</summary>
    public const string SerialPortName = "ravel.link";
}

/// <summary>Frame types.</summary>
public enum FrameType : byte
{
    /// <summary>Part of a JSON control message on stream 0; <see cref="FrameFlags.End"/> on its last part.</summary>
    Control = 1,

    /// <summary>Bytes of a stream; <c>offset</c> is the position of the first byte since the stream began.</summary>
    Data = 2,

    /// <summary>
    /// Receiver to sender: bytes below <c>offset</c> are consumed (durably, for workload output) and may be
    /// forgotten; the payload is a u64le, the offset up to which the sender may send.
    /// </summary>
    Window = 3,

    /// <summary>The receiver wants no more of this stream; the sender drops it.</summary>
    Reset = 4,

    /// <summary>Answered by <see cref="Pong"/>; tells a dead peer from a quiet one.</summary>
    Ping = 5,

    Pong = 6,
}

[Flags]
public enum FrameFlags : byte
{
    None = 0,

    /// <summary>Control: the message is whole. Data: nothing follows on this stream.</summary>
    End = 1,
}

/// <summary>
/// Stream ids need no negotiation: 0 control, 1–3 the workload's stdout, stderr, stdin; exec session n ≥ 1 has
/// 4n (stdin), 4n+1 (stdout), 4n+2 (stderr).
/// </summary>
public static class LinkStreams
{
    public const uint Control = 0;
    public const uint Stdout = 1;
    public const uint Stderr = 2;
    public const uint Stdin = 3;

    /// <summary>Sessions are numbered from 1 to this.</summary>
    public const uint HighestSession = uint.MaxValue / 4;

    public static uint ExecStdin(uint session) => session * 4;

    public static uint ExecStdout(uint session) => (session * 4) + 1;

    public static uint ExecStderr(uint session) => (session * 4) + 2;
}
