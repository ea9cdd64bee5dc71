using System.Globalization;

namespace Ravel.Cli.Output;

/// <summary>Numbers as people say them.</summary>
internal static class Humane
{
    /// <summary><c>3 minutes</c>; rounds down, as Docker does.</summary>
    public static string Duration(TimeSpan span) => span.TotalSeconds switch
    {
        < 1 => "Less than a second",
        < 2 => "1 second",
        < 60 => $"{(int)span.TotalSeconds} seconds",
        < 120 => "About a minute",
        < 3600 => $"{(int)span.TotalMinutes} minutes",
        < 7200 => "About an hour",
        < 48 * 3600 => $"{(int)span.TotalHours} hours",
        < 14 * 86400 => $"{(int)span.TotalDays} days",
        < 60 * 86400 => $"{(int)(span.TotalDays / 7)} weeks",
        < 730 * 86400.0 => $"{(int)(span.TotalDays / 30)} months",
        _ => $"{(int)(span.TotalDays / 365)} years",
    };

    /// <summary><c>12.3MB</c>: decimal units, as Docker shows images.</summary>
    public static string Bytes(long bytes)
    {
        string[] units = ["B", "kB", "MB", "GB", "TB", "PB"];
        var value = (double)bytes;
        var unit = 0;
        while (value >= 999.5 && unit < units.Length - 1)
        {
            value /= 1000;
            unit++;
        }
        var format = unit == 0 || value >= 99.95 ? "0" : value >= 9.995 ? "0.0" : "0.00";
        return value.ToString(format, CultureInfo.InvariantCulture) + units[unit];
    }

    public static string Ago(DateTimeOffset moment, DateTimeOffset now) => $"{Duration(now > moment ? now - moment : TimeSpan.Zero)} ago";
}
