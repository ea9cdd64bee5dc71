using System.ComponentModel;

namespace Ravel.Linux.Network;

/// <summary>The kernel refused something about the network. The message names what was tried and carries the kernel's reason.</summary>
public sealed class LinuxNetworkException(string operation, int errno)
    : IOException($"{operation}: {new Win32Exception(errno).Message}")
{
    /// <summary>errno(3).</summary>
    public int Errno { get; } = errno;
}

/// <summary>The values of errno(3) that decide something here; the same on all Linux architectures Ravel runs on.</summary>
internal static class Errno
{
    internal const int NoEntry = 2;
    internal const int Interrupted = 4;
    internal const int Again = 11;
    internal const int Exists = 17;
    internal const int NoDevice = 19;
    internal const int AddressFamilyNotSupported = 97;
    internal const int AddressInUse = 98;
    internal const int AddressNotAvailable = 99;
}
