using System.Buffers;
using System.Globalization;

namespace Ravel.ControlPlane.Machines;

/// <summary>Seconds as a plain number, or a duration as Go writes it (<c>1m30s</c>, <c>500ms</c>): clients of the Fly API send both.</summary>
internal static class GoDuration
{
    private static readonly SearchValues<char> Digits = SearchValues.Create("0123456789.");

    public static bool TryParse(string text, out TimeSpan duration)
    {
        duration = TimeSpan.Zero;
        if (text.Length is 0 or > 32)
            return false;
        if (double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds))
            return TryAdd(seconds, 1, ref duration);

        var rest = text.AsSpan();
        while (rest.Length > 0)
        {
            var digits = rest.IndexOfAnyExcept(Digits);
            if (digits <= 0 || !double.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number))
                return false;
            rest = rest[digits..];
            var letters = rest.IndexOfAny(Digits);
            var unit = letters < 0 ? rest : rest[..letters];
            var scale = unit switch { "h" => 3600, "m" => 60, "s" => 1, "ms" => 1e-3, "us" or "µs" => 1e-6, "ns" => 1e-9, _ => 0 };
            if (scale == 0 || !TryAdd(number, scale, ref duration))
                return false;
            rest = rest[unit.Length..];
        }
        return true;
    }

    private static bool TryAdd(double number, double scale, ref TimeSpan duration)
    {
        var seconds = duration.TotalSeconds + (number * scale);
        if (seconds > TimeSpan.FromDays(365).TotalSeconds)
            return false;
        duration = TimeSpan.FromSeconds(seconds);
        return true;
    }
}
