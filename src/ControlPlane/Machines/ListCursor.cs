using System.Globalization;
using Ravel.Contracts.Ids;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Machines;

/// <summary>A place in a list of machines that stays where it is while others come and go: behind one machine, by age and id.</summary>
internal sealed record ListCursor(DateTimeOffset CreatedAt, string Id)
{
    /// <summary>Where the next page begins; absent on the last.</summary>
    public const string Header = "Ravel-Next-Cursor";

    /// <exception cref="ProblemException"><c>invalid-request</c>.</exception>
    public static ListCursor? Parse(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return null;
        var parts = text.Split('-');
        if (parts.Length != 2
            || !long.TryParse(parts[0], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var ticks)
            || ticks < 0 || ticks > DateTimeOffset.MaxValue.Ticks
            || !MachineId.TryParse(parts[1], out var id))
        {
            throw ProblemException.Invalid($"cursor must come from the header {Header} of an earlier page.");
        }
        return new ListCursor(new DateTimeOffset(ticks, TimeSpan.Zero), id.Value);
    }

    public override string ToString() => $"{CreatedAt.UtcTicks:x}-{Id}";
}
