using Ravel.Cli.Errors;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Volumes;

/// <summary>Finds the volume that a person means: by name, by id, or by a prefix of its id that no other has.</summary>
internal static class VolumeNames
{
    public const string Prefix = "vol_";

    /// <param name="text">What was typed.</param>
    /// <param name="volumes">Those there are.</param>
    /// <param name="snapshots">Of volumes, meant by id only: they have the names of what they are of.</param>
    /// <exception cref="CliException">None, or several.</exception>
    public static Volume Resolve(string text, IReadOnlyList<Volume> volumes, IReadOnlyList<Volume>? snapshots = null)
    {
        snapshots ??= [];
        if (snapshots.FirstOrDefault(snapshot => snapshot.Id.Value == text) is { } exact)
            return exact;
        var found = volumes.Where(volume => volume.Id.Value == text || volume.Name == text || $"{volume.App}/{volume.Name}" == text).ToList();
        if (found.Count == 0 && text.Length > Prefix.Length && text.StartsWith(Prefix, StringComparison.Ordinal))
            found = [.. volumes.Concat(snapshots).Where(volume => volume.Id.Value.StartsWith(text, StringComparison.Ordinal))];
        return found.Count switch
        {
            1 => found[0],
            0 => throw new CliException(text, "no volume has this name or id", "see: ravel volume ls"),
            _ => throw new CliException(
                text, $"several volumes match: {string.Join(", ", found.Take(5).Select(volume => $"{volume.Id} ({volume.App}/{volume.Name})"))}", "give an id, or APP/NAME"),
        };
    }
}
