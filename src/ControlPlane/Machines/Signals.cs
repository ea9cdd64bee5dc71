using System.Globalization;

namespace Ravel.ControlPlane.Machines;

/// <summary>POSIX signals by name, with the numbers that Linux uses on amd64 and arm64 (signal(7)).</summary>
internal static class Signals
{
    private const string Prefix = "SIG";
    private const int Highest = 64;

    private static readonly string[] Names =
    [
        "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
        "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR",
        "SYS",
    ];

    /// <summary><c>SIGTERM</c>, <c>term</c> or <c>15</c>.</summary>
    public static bool TryParse(string? text, out int signal)
    {
        signal = 0;
        if (string.IsNullOrEmpty(text))
            return false;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out signal))
            return signal is > 0 and <= Highest;
        var name = text.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase) ? text[Prefix.Length..] : text;
        signal = name.Length == 0 ? -1 : Array.FindIndex(Names, n => n.Equals(name, StringComparison.OrdinalIgnoreCase));
        return signal > 0;
    }
}
