namespace Ravel.Linux.Guest;

/// <summary>errno(3) values the guest tells apart (x86-64).</summary>
public static class Errno
{
    public const int NotFound = 2;
    public const int Interrupted = 4;
    public const int Io = 5;
    public const int ExecFormat = 8;
    public const int NoChild = 10;
    public const int Again = 11;
    public const int Access = 13;
    public const int Busy = 16;
    public const int Exists = 17;
    public const int NoDevice = 19;
    public const int NotADirectory = 20;
    public const int IsADirectory = 21;
    public const int Invalid = 22;
    public const int BrokenPipe = 32;
    public const int Loop = 40;
    public const int InProgress = 115;
}
