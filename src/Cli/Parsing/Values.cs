using System.Globalization;
using System.Net;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Parsing;

/// <summary>
/// The values that options take, as Docker's users write them. Each parser is pure and refuses with a
/// <see cref="FormatException"/> whose message says what is accepted.
/// </summary>
internal static class Values
{
    /// <summary>A size in MiB: <c>512</c>, <c>512m</c>, <c>1g</c>, <c>1.5GiB</c>. A bare number is MiB.</summary>
    public static int Mebibytes(string text)
    {
        var (number, unit) = SplitUnit(text);
        double? factor = unit.ToLowerInvariant() switch
        {
            "" or "m" or "mb" or "mib" => 1,
            "k" or "kb" or "kib" => 1.0 / 1024,
            "g" or "gb" or "gib" => 1024,
            "t" or "tb" or "tib" => 1024 * 1024,
            _ => null,
        };
        if (factor is null || !double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value))
            throw new FormatException($"'{text}' is not a size; write MiB, or a number with m or g, e.g. 512 or 1g");
        var mebibytes = value * factor.Value;
        if (mebibytes is < 1 or > int.MaxValue)
            throw new FormatException($"'{text}' is out of range; a bare number is MiB");
        return (int)Math.Ceiling(mebibytes);
    }

    /// <summary>Bytes a second: <c>500k</c>, <c>10m</c>, <c>1g</c>, of 1024 each; a bare number is bytes, and 0 no limit.</summary>
    public static long Rate(string text)
    {
        const double Most = 4_000_000_000;
        var (number, unit) = SplitUnit(text);
        double? factor = unit.ToLowerInvariant() switch
        {
            "" or "b" => 1,
            "k" or "kb" or "kib" => 1 << 10,
            "m" or "mb" or "mib" => 1 << 20,
            "g" or "gb" or "gib" => 1 << 30,
            _ => null,
        };
        if (factor is null || !double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value))
            throw new FormatException($"'{text}' is not a number of bytes a second; write e.g. 500k or 10m");
        var bytes = Math.Ceiling(value * factor.Value);
        return bytes is 0 or (>= 16 * 1024 and <= Most)
            ? (long)bytes
            : throw new FormatException($"'{text}' is out of range; write 16k to 3.7g, or 0 for no limit");
    }

    /// <summary>Of machines that are made together.</summary>
    public static int Count(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count is >= 1 and <= 1000
            ? count
            : throw new FormatException("a number from 1 to 1000 is needed");

    /// <summary>Operations a second; 0 = no limit.</summary>
    public static int Operations(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count is 0 or (>= 10 and <= 10_000_000)
            ? count
            : throw new FormatException($"'{text}' is not a number of operations a second; write 10 to 10000000, or 0 for no limit");

    /// <summary>CPUs, whole or a part: <c>2</c>, <c>0.5</c>, <c>1.25</c>.</summary>
    public static double Cpus(string text) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var cpus) && cpus is >= 0.01 and <= 32
            ? Math.Round(cpus, 3)
            : throw new FormatException($"'{text}' is not a number of CPUs; write 1 to 32, or e.g. 0.5 for half the time of one");

    /// <summary>As docker counts them: 1024 is the usual share.</summary>
    public static int CpuShares(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var shares) && shares is >= 2 and <= 102_400
            ? shares
            : throw new FormatException($"'{text}' is not a number of CPU shares; write 2 to 102400, 1024 is usual for one CPU");

    /// <summary>The API's weight: 100 where docker has 1024.</summary>
    public static int CpuWeightOf(int shares) => Math.Clamp((int)Math.Round(shares * 100 / 1024.0), 1, 10_000);

    /// <summary>A volume at a path: <c>NAME:/path</c>, with <c>:ro</c> behind it for reading only.</summary>
    public static MountConfig Mount(string text)
    {
        var parts = text.Split(':');
        if (parts.Length is not (2 or 3) || parts[0].Length == 0 || (parts.Length == 3 && parts[2] is not ("ro" or "rw")))
            throw new FormatException($"'{text}' is not a volume; write NAME:/path or NAME:/path:ro");
        if (parts[0][0] is '/' or '.' or '~')
            throw new FormatException($"'{parts[0]}' is a path of this host, which a microVM cannot mount; write the name of a volume");
        if (!parts[1].StartsWith('/') || parts[1].Length < 2)
            throw new FormatException($"'{parts[1]}' is not an absolute path in the guest");
        return new MountConfig { Volume = parts[0], Path = parts[1], ReadOnly = parts.Length == 3 && parts[2] == "ro" ? true : null };
    }

    /// <summary>A duration: <c>10</c> (seconds), <c>1.5s</c>, <c>250ms</c>, <c>1h30m</c>.</summary>
    public static TimeSpan Duration(string text)
    {
        if (double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds) && seconds <= MaxSeconds)
            return TimeSpan.FromSeconds(seconds);
        var total = 0.0;
        var rest = text;
        while (rest.Length > 0)
        {
            var (number, tail) = SplitUnit(rest);
            var unit = new string([.. tail.TakeWhile(char.IsAsciiLetter)]);
            double? factor = unit switch { "ms" => 0.001, "s" => 1, "m" => 60, "h" => 3600, "d" => 86400, _ => null };
            if (factor is null || !double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var part))
                throw new FormatException($"'{text}' is not a duration; write seconds, or e.g. 10s, 5m, 1h30m");
            total += part * factor.Value;
            rest = tail[unit.Length..];
        }
        if (text.Length == 0 || total > MaxSeconds)
            throw new FormatException($"'{text}' is not a duration; write seconds, or e.g. 10s, 5m, 1h30m");
        return TimeSpan.FromSeconds(total);
    }

    /// <summary>A moment: RFC 3339, Unix seconds, or how long ago as <see cref="Duration"/> reads it.</summary>
    public static DateTimeOffset Since(string text, DateTimeOffset now)
    {
        // Ten digits are seconds since 1970 for every moment from 2001 to 2286, and no sensible "seconds ago".
        if (text.Length == 10 && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var unix))
            return DateTimeOffset.FromUnixTimeSeconds(unix);
        if (text.Length >= 8 && text.Contains('-') && DateTimeOffset.TryParse(
                text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeLocal | DateTimeStyles.AdjustToUniversal, out var moment))
            return moment;
        try
        {
            return now - Duration(text);
        }
        catch (FormatException)
        {
            throw new FormatException($"'{text}' is not a time; write how long ago (10m), or 2026-01-31T12:00:00Z");
        }
    }

    /// <summary><c>[IP:]HOST:GUEST[/tcp|/udp]</c>.</summary>
    public static PortConfig Port(string text)
    {
        var refusal = new FormatException($"'{text}' is not a port mapping; write [IP:]HOST:GUEST[/udp], e.g. 8080:80 or 127.0.0.1:5353:53/udp");
        var slash = text.LastIndexOf('/');
        var protocol = slash < 0 ? "tcp" : text[(slash + 1)..].ToLowerInvariant();
        if (protocol is not ("tcp" or "udp"))
            throw refusal;
        var rest = slash < 0 ? text : text[..slash];

        var colon = rest.LastIndexOf(':');
        if (colon < 0 || !TryPort(rest[(colon + 1)..], out var guest))
            throw refusal;

        rest = rest[..colon];
        colon = rest.LastIndexOf(':');
        if (!TryPort(rest[(colon + 1)..], out var host))
            throw refusal;
        if (colon < 0)
            return new PortConfig { Protocol = protocol, HostPort = host, GuestPort = guest };

        var address = rest[..colon];
        if (address.StartsWith('[') && address.EndsWith(']'))
            address = address[1..^1];
        if (!IPAddress.TryParse(address, out var ip))
            throw refusal;
        return new PortConfig { Protocol = protocol, HostAddress = ip.ToString(), HostPort = host, GuestPort = guest };
    }

    /// <summary><c>KEY=VALUE</c>, or <c>KEY</c> alone to take the value of the caller's environment; null when that has none.</summary>
    public static KeyValuePair<string, string>? Variable(string text, Func<string, string?> environment)
    {
        var equals = text.IndexOf('=');
        var key = equals < 0 ? text : text[..equals];
        if (key.Length == 0 || key.Contains('\0'))
            throw new FormatException($"'{text}' is not a variable; write KEY=VALUE, or KEY to pass on your own");
        if (equals >= 0)
            return new(key, text[(equals + 1)..]);
        return environment(key) is { } value ? new(key, value) : null;
    }

    /// <summary><c>no</c>, <c>always</c>, <c>on-failure</c> or <c>on-failure:N</c>.</summary>
    public static RestartConfig Restart(string text)
    {
        var colon = text.IndexOf(':');
        if (text is "no" or "always" or "on-failure")
            return new RestartConfig { Policy = text };
        if (colon > 0 && text[..colon] == "on-failure" && int.TryParse(text[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var retries))
            return new RestartConfig { Policy = "on-failure", MaxRetries = retries };
        throw new FormatException($"'{text}' is not a restart policy; write no, always, on-failure or on-failure:N");
    }

    private const double MaxSeconds = 100L * 366 * 86400;

    private static bool TryPort(string text, out int port) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port) && port is >= 1 and <= 65535;

    private static (string Number, string Unit) SplitUnit(string text)
    {
        var length = 0;
        while (length < text.Length && (char.IsAsciiDigit(text[length]) || text[length] == '.'))
            length++;
        return (text[..length], text[length..]);
    }
}
