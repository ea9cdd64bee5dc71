using Ravel.Images;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>What a process killed between two steps leaves on disk, and what the next one makes of it.</summary>
public sealed class ImageStoreRecoveryTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-recovery-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string Data => Path.Combine(_directory, "data");

    private string Images => Path.Combine(Data, "images");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Killed_while_building_leaves_nothing_behind()
    {
        Directory.CreateDirectory(Path.Combine(Images, "tmp", "1"));
        await File.WriteAllTextAsync(Path.Combine(Images, "tmp", "1", "rootfs.erofs"), "half", Cancellation);
        await File.WriteAllTextAsync(Path.Combine(Images, "tmp", "references-2"), "half", Cancellation);
        using var store = await OpenAsync();
        Assert.Empty(store.List());
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(Images, "tmp")));
    }

    [Fact]
    public async Task Killed_between_publication_and_naming_leaves_an_image_that_the_next_pull_names()
    {
        var image = await ImportAsync("app");
        File.Delete(Path.Combine(Images, "references.json"));
        using var store = await OpenAsync();
        Assert.Empty(Assert.Single(store.List()).References);
        Assert.Equal(image.ManifestDigest, (await store.ImportAsync(Layout().Directory, "app", Cancellation)).ManifestDigest);
        Assert.Equal(["docker.io/library/app:latest"], store.Find("app")?.References);
    }

    [Fact]
    public async Task Killed_while_removing_leaves_names_that_lead_nowhere_and_are_ignored()
    {
        var image = await ImportAsync("app");
        Directory.Move(Path.GetDirectoryName(image.RootfsPath)!, Path.Combine(Images, "tmp", "removed-1"));
        using var store = await OpenAsync();
        Assert.Null(store.Find("app"));
        Assert.Empty(store.List());
        Assert.False(Directory.Exists(Path.Combine(Images, "tmp", "removed-1")));
    }

    [Fact]
    public async Task An_image_that_the_disk_does_not_let_go_stays_in_the_store_with_its_name()
    {
        await ImportAsync("app");
        var fails = true;
        using var store = await ImageStore.OpenAsync(
            new ImageStoreOptions
            {
                DataDirectory = Data,
                AtStep = step =>
                {
                    if (fails && step is ("prune: rename" or "remove: rename"))
                        throw new IOException("not now");
                },
            },
            TimeProvider.System, Cancellation);

        await Assert.ThrowsAsync<ImageException>(() => store.PruneAsync(all: true, dryRun: false, Cancellation));
        await Assert.ThrowsAsync<ImageException>(() => store.RemoveAsync("app", Cancellation));
        Assert.Equal(["docker.io/library/app:latest"], store.Find("app")?.References);

        fails = false;
        await store.RemoveAsync("app", Cancellation);
        Assert.Empty(store.List());
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(Images, "sha256")));
    }

    [Fact]
    public async Task A_rootfs_that_was_cut_is_known_as_damaged_and_replaced_by_the_next_import()
    {
        var image = await ImportAsync("app");
        File.Delete(image.RootfsPath);
        await File.WriteAllTextAsync(image.RootfsPath, "cut", Cancellation);
        using var store = await OpenAsync();
        Assert.True(store.Find("app")?.IsDamaged);
        var refused = await Assert.ThrowsAsync<ImageException>(() => store.EnsureAsync("app", PullPolicy.Never, null, Cancellation));
        Assert.Equal("image-damaged", refused.Code);
        var again = await store.ImportAsync(Layout().Directory, "app", Cancellation);
        Assert.False(again.IsDamaged);
        Assert.Equal(image.RootfsBytes, new FileInfo(again.RootfsPath).Length);
    }

    [Theory]
    [InlineData("{ not json")]
    [InlineData("{}")]
    [InlineData("null")]
    public async Task What_is_not_known_to_be_an_image_is_removed_with_its_names(string record)
    {
        var image = await ImportAsync("app");
        await File.WriteAllTextAsync(Path.Combine(Path.GetDirectoryName(image.RootfsPath)!, "image.json"), record, Cancellation);
        using var store = await OpenAsync();
        Assert.Null(store.Find("app"));
        Assert.False(File.Exists(image.RootfsPath));
        Assert.Equal("{}", await File.ReadAllTextAsync(Path.Combine(Images, "references.json"), Cancellation));
        Assert.Equal(image.RootfsDigest, (await store.ImportAsync(Layout().Directory, "app", Cancellation)).RootfsDigest);
    }

    [Fact]
    public async Task Two_processes_cannot_have_a_store_open()
    {
        using var store = await OpenAsync();
        await Assert.ThrowsAsync<IOException>(OpenAsync);
    }

    [Fact]
    public async Task A_failed_import_leaves_nothing_and_says_why()
    {
        var directory = Directory.CreateDirectory(Path.Combine(_directory, "bad")).FullName;
        new LayoutBuilder(directory).Layer(new TarBuilder().HardLink("a", "b").ToArray()).Build();
        using var store = await OpenAsync();
        var error = await Assert.ThrowsAsync<ImageException>(() => store.ImportAsync(directory, "bad", Cancellation));
        Assert.Equal("image-invalid", error.Code);
        Assert.Empty(store.List());
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(Images, "tmp")));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(Images, "sha256")));
    }

    [Fact]
    public async Task A_name_that_moves_leaves_the_old_image_to_those_who_use_it()
    {
        var first = await ImportAsync("app");
        using var store = await OpenAsync();
        using var lease = store.Lease(first.ManifestDigest);
        var directory = Directory.CreateDirectory(Path.Combine(_directory, "second")).FullName;
        new LayoutBuilder(directory).Layer(new TarBuilder().File("other").ToArray()).Build();
        var second = await store.ImportAsync(directory, "app", Cancellation);
        Assert.Equal(second.ManifestDigest, store.Find("app")?.ManifestDigest);
        Assert.Empty(store.Find(first.ManifestDigest)!.References);
        Assert.True(File.Exists(first.RootfsPath));
    }

    private async Task<StoredImage> ImportAsync(string name)
    {
        using var store = await OpenAsync();
        return await store.ImportAsync(Layout().Directory, name, Cancellation);
    }

    private OciLayout Layout()
    {
        var directory = Directory.CreateDirectory(Path.Combine(_directory, "layout")).FullName;
        return new LayoutBuilder(directory).Layer(new TarBuilder().File("hello", "world").ToArray()).Build();
    }

    private Task<ImageStore> OpenAsync() =>
        ImageStore.OpenAsync(new ImageStoreOptions { DataDirectory = Data }, TimeProvider.System, Cancellation);
}
