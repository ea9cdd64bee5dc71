using System.Globalization;
using Ravel.Images;
using Ravel.Images.Archives;

namespace Ravel.KilledStore;

/// <summary>What can be done to an image store on disk, from opening it to closing it.</summary>
internal static class StoreOperation
{
    /// <param name="words">
    /// <c>build IMAGE FILE</c>, or <c>DATA LIMIT</c> (bytes, or <c>-</c>) and then <c>open</c>, <c>pull REF</c>, <c>import PATH NAME</c>,
    /// <c>rm NAME</c>, <c>prune</c> or <c>verify</c>.
    /// </param>
    /// <param name="atStep">Told of every step on disk right before it is done.</param>
    public static async Task RunAsync(IReadOnlyList<string> words, Action<string> atStep)
    {
        if (words is ["build", var image, var file])
        {
            await using var source = ImageLocation.Open(
                image, Path.GetDirectoryName(file)!, new RegistryOptions(), new ImageLimits(), TimeProvider.System, CancellationToken.None);
            await RootfsFile.BuildAsync(source, file, new ImageLimits(), TimeProvider.System, null, CancellationToken.None, atStep);
            return;
        }
        if (words is not [var data, var limit, _, ..])
            throw new ArgumentException("Too few words.", nameof(words));
        var options = new ImageStoreOptions
        {
            DataDirectory = data,
            MaxBytes = limit == "-" ? null : long.Parse(limit, CultureInfo.InvariantCulture),
            AtStep = atStep,
        };
        using var store = await ImageStore.OpenAsync(options, TimeProvider.System, CancellationToken.None);
        await RunAsync(store, [.. words.Skip(2)]);
    }

    private static async Task RunAsync(ImageStore store, string[] operation)
    {
        switch (operation)
        {
            case ["open"]:
                break;
            case ["pull", var reference]:
                await store.EnsureAsync(reference, PullPolicy.Missing, null, CancellationToken.None);
                // As an agent does when it starts.
                await store.CollectAsync(CancellationToken.None);
                break;
            case ["import", var path, var name]:
                await store.ImportAsync(path, name, CancellationToken.None);
                break;
            case ["rm", var name]:
                await store.RemoveAsync(name, CancellationToken.None);
                break;
            case ["prune"]:
                await store.PruneAsync(all: true, dryRun: false, CancellationToken.None);
                break;
            case ["verify"]:
                await foreach (var found in store.VerifyAsync(null, CancellationToken.None))
                    _ = found;
                break;
            default:
                throw new ArgumentException($"{string.Join(' ', operation)} is not an operation.", nameof(operation));
        }
    }
}
