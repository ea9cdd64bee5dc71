using System.Globalization;
using System.Text.Json;

namespace Ravel.Images.Archives;

/// <summary>Picks an image of an archive that holds several.</summary>
internal static class ImageChoice
{
    private const int MostShown = 8;
    private const int MostCharacters = 200;

    /// <param name="wanted">A name as the archive has it, its tag alone, a reference that means the same, or <c>@N</c>.</param>
    public static List<JsonElement> Among(List<JsonElement> entries, string wanted, Func<JsonElement, IEnumerable<string>> namesOf)
    {
        if (wanted is ['@', .. var place])
        {
            return int.TryParse(place, NumberStyles.None, CultureInfo.InvariantCulture, out var index) && index < entries.Count
                ? [entries[index]]
                : [];
        }
        var exact = entries.Where(entry => namesOf(entry).Contains(wanted)).ToList();
        return exact.Count > 0 ? exact : [.. entries.Where(entry => namesOf(entry).Any(name => IsSame(name, wanted)))];
    }

    /// <summary>What the image is to be called: the name that was asked for, else its first; null when it has none.</summary>
    public static string? NameOf(JsonElement entry, string? wanted, Func<JsonElement, IEnumerable<string>> namesOf) =>
        namesOf(entry).FirstOrDefault(name => wanted is not null && (name == wanted || IsSame(name, wanted))) ?? namesOf(entry).FirstOrDefault();

    /// <summary>The images there are, for a message: names are a stranger's, so they are cut and freed of control characters.</summary>
    public static string Show(List<JsonElement> entries, Func<JsonElement, IEnumerable<string>> namesOf)
    {
        var names = entries.Select((entry, index) => Printable(namesOf(entry).FirstOrDefault() ?? $"@{index}")).ToList();
        return string.Join(", ", names.Take(MostShown)) + (names.Count > MostShown ? $" and {names.Count - MostShown} more" : "");
    }

    private static string Printable(string name) =>
        string.Concat(name.Take(MostCharacters).Select(c => char.IsControl(c) ? '?' : c));

    /// <summary>Archives name images by tag alone or by reference, in full or as people write it.</summary>
    private static bool IsSame(string name, string wanted) =>
        name.EndsWith($":{wanted}", StringComparison.Ordinal)
        || (ImageReference.TryParse(name, out var a, out _) && ImageReference.TryParse(wanted, out var b, out _) && a == b);
}
