namespace Ravel.Images.Store;

/// <summary>What goes when the store is over its limit.</summary>
internal static class CollectionRule
{
    /// <summary>
    /// The images to remove: least recently used first, and no more than it takes. Those in use and those that came from a file stay,
    /// so that the rest may be over the limit all the same.
    /// </summary>
    public static IReadOnlyList<StoredEntry> Choose(IReadOnlyCollection<StoredEntry> images, long limit, Func<string, bool> isInUse)
    {
        var total = images.Sum(image => image.Record.RootfsBytes);
        var chosen = new List<StoredEntry>();
        foreach (var image in images.OrderBy(image => image.LastUsed).ThenBy(image => image.Record.ManifestDigest, StringComparer.Ordinal))
        {
            if (total <= limit)
                break;
            if (image.IsImported || isInUse(image.Record.ManifestDigest))
                continue;
            chosen.Add(image);
            total -= image.Record.RootfsBytes;
        }
        return chosen;
    }
}
