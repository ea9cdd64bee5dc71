using Ravel.Images;
using Ravel.Testing.Images;
using Ravel.Testing.Images.Hostile;

namespace Ravel.Integration.Images;

/// <summary>Every hostile image as a registry serves it, into a store: refused by name, and nothing of it in the store.</summary>
public sealed class HostileRegistryTests
{
    public static TheoryData<string> Names => [.. HostileImage.All.Values.Where(image => image.Words is not null).Select(image => image.Name)];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Names))]
    public async Task A_hostile_image_leaves_nothing_in_the_store(string name)
    {
        var image = HostileImage.All[name];
        using var place = new HostilePlace(image.Write);
        await using var registry = await FaultyRegistry.StartAsync(place.Image);
        using var store = await ImageStore.OpenAsync(
            new ImageStoreOptions
            {
                DataDirectory = place.Output,
                Limits = image.Limits ?? new ImageLimits(),
                Registry = new RegistryOptions { FirstRetryDelay = TimeSpan.FromMilliseconds(1), MaxRetryDelay = TimeSpan.FromMilliseconds(2) },
            },
            TimeProvider.System, Cancellation);
        var reference = $"{registry.Host}/app:1";

        var error = await Assert.ThrowsAsync<ImageException>(() => store.EnsureAsync(reference, PullPolicy.Missing, null, Cancellation));

        // A registry's answers differ from a directory's: what is missing there is an error of the transfer here.
        Assert.Contains(error.Code, (string[])["image-invalid", "image-pull-failed", "image-not-found"]);
        Assert.Contains(reference, error.Message);
        Assert.DoesNotContain(error.Message, char.IsControl);
        Assert.Empty(store.List());
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(place.Output, "images", "sha256")));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(place.Output, "images", "tmp")));
        place.AssertUntouched();
    }
}
