using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Ravel.Agent.Guests;

/// <summary>Names of the signals of Linux on x86-64 and arm64 (signal(7)), as STOPSIGNAL of an image uses them.</summary>
internal static class SignalNames
{
    public const int Term = 15;
    public const int Kill = 9;
    public const int Highest = 64;

    private const int RealTimeMinimum = 34;

    private static readonly string[] Names =
    [
        "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
        "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];

    /// <summary>A number, or a name with or without SIG in any case; RTMIN+n and RTMAX-n too.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out int signal)
    {
        signal = 0;
        if (string.IsNullOrEmpty(text))
            return false;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out signal))
            return signal is > 0 and <= Highest;
        var name = text.ToUpperInvariant();
        if (name.StartsWith("SIG", StringComparison.Ordinal))
            name = name[3..];
        signal = name switch
        {
            "RTMIN" => RealTimeMinimum,
            "RTMAX" => Highest,
            _ when Offset(name, "RTMIN+", out var n) => RealTimeMinimum + n,
            _ when Offset(name, "RTMAX-", out var n) => Highest - n,
            _ => Array.IndexOf(Names, name),
        };
        return signal is > 0 and <= Highest;
    }

    private static bool Offset(string name, string prefix, out int offset)
    {
        offset = 0;
        return name.StartsWith(prefix, StringComparison.Ordinal)
            && int.TryParse(name.AsSpan(prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out offset)
            && offset <= Highest - RealTimeMinimum;
    }
}
