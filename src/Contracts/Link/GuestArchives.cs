namespace Ravel.Contracts.Link;

/// <summary>
/// Files in and out of a guest, as tar over the standard streams of an exec session whose program is ravel-init itself:
/// <c>/proc/1/exe pack PATH</c>, <c>/proc/1/exe unpack PATH [TOP]</c>. From protocol version 2 on: an older ravel-init would take itself
/// for PID 1.
/// </summary>
public static class GuestArchives
{
    /// <summary>First protocol version whose guests have it.</summary>
    public const int SinceVersion = 2;

    public const string Program = "/proc/1/exe";
    public const string Pack = "pack";
    public const string Unpack = "unpack";

    /// <summary>Exit code: something went wrong on the way; standard error has one line.</summary>
    public const int Failed = 1;

    /// <summary>Exit code: the path is not there.</summary>
    public const int NotFound = 3;

    /// <summary>Exit code: what is at the path, or in the archive, does not suit.</summary>
    public const int Unsuitable = 4;
}
