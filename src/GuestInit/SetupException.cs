namespace Ravel.GuestInit;

/// <summary>A process cannot be started, with the exit code Docker gives: 125 set-up, 126 not executable, 127 not found.</summary>
internal sealed class SetupException : Exception
{
    public const int SetupFailed = 125;
    public const int NotExecutable = 126;
    public const int NotFound = 127;

    public SetupException(int exitCode, string message)
        : base(message)
    {
        ExitCode = exitCode;
    }

    public int ExitCode { get; }
}
