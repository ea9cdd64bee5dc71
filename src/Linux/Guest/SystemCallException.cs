using System.Runtime.InteropServices;

namespace Ravel.Linux.Guest;

/// <summary>The kernel refused. The message says what was tried and why not, in one line.</summary>
public sealed class SystemCallException : Exception
{
    public SystemCallException(string attempt, int error)
        : base($"{attempt}: {Marshal.GetPInvokeErrorMessage(error)}")
    {
        Error = error;
    }

    /// <summary>errno(3).</summary>
    public int Error { get; }

    internal static SystemCallException Last(string attempt) => new(attempt, Marshal.GetLastPInvokeError());
}
