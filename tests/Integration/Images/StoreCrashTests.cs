using System.Security.Cryptography;
using System.Text.Json;
using Ravel.Images;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>
/// The store after SIGKILL: each operation is run once to learn its steps on disk, then in a process of its own for each step, killed
/// right before it. Whatever is left, the next process opens the store, finds only whole images and names that lead to one, no
/// temporary file, and the operation, done again, ends as if nothing had happened.
/// </summary>
public sealed class StoreCrashTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-killed-").FullName;
    private OciLayout _first = null!;
    private OciLayout _second = null!;
    private FaultyRegistry _registry = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string Template => Path.Combine(_directory, "template");

    private string Reference => $"{_registry.Host}/team/app:1";

    public async ValueTask InitializeAsync()
    {
        _first = Layout("first");
        _second = Layout("second");
        _registry = await FaultyRegistry.StartAsync(_second);
    }

    public async ValueTask DisposeAsync()
    {
        await _registry.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public Task Killed_while_pulling() =>
        KillAtEachStepAsync(["pull", Reference], ["open: create directory", "build: write layer", "build: flush rootfs", "publish: rename", "name: references.json: rename", "use: touch"]);

    [Fact]
    public async Task Killed_while_an_import_moves_a_name()
    {
        await ImportAsync(_first, "app");
        await KillAtEachStepAsync(["import", _second.Directory, "app"], ["publish: imported: create", "name: references.json: rename"]);
    }

    [Fact]
    public async Task Killed_while_an_import_names_what_was_pulled()
    {
        using (var store = await OpenAsync(Template))
            await store.EnsureAsync(Reference, PullPolicy.Missing, null, Cancellation);
        await KillAtEachStepAsync(["import", _second.Directory, "app"], ["import: mark: create", "name: references.json: rename"]);
    }

    [Fact]
    public async Task Killed_while_a_damaged_image_is_replaced()
    {
        var image = await ImportAsync(_second, "app");
        await DamageAsync(image);
        await KillAtEachStepAsync(["import", _second.Directory, "app"], ["publish: exchange", "build: clean up: delete rootfs.erofs"]);
    }

    [Fact]
    public async Task Killed_while_damage_is_noted()
    {
        var image = await ImportAsync(_first, "app");
        await ImportAsync(_second, "other");
        await DamageAsync(image, isKnown: false);
        await KillAtEachStepAsync(["verify"], ["verify: mark: create", "verify: mark: flush directory"], isDamageUnknown: true);
    }

    [Fact]
    public async Task Killed_while_the_last_name_goes()
    {
        await ImportAsync(_first, "app");
        await ImportAsync(_second, "other");
        await KillAtEachStepAsync(["rm", "app"], ["remove: rename", "remove: delete rootfs.erofs", "remove: references.json: rename"]);
    }

    [Fact]
    public async Task Killed_while_one_of_two_names_goes()
    {
        await ImportAsync(_first, "app");
        await ImportAsync(_first, "app:2");
        await KillAtEachStepAsync(["rm", "app"], ["remove: references.json: rename"]);
    }

    [Fact]
    public async Task Killed_while_pruning()
    {
        await ImportAsync(_first, "app");
        await ImportAsync(_second, "app");
        await KillAtEachStepAsync(["prune"], ["prune: rename", "prune: delete directory", "prune: references.json: rename"]);
    }

    [Fact]
    public async Task Killed_while_collecting()
    {
        await using var other = await FaultyRegistry.StartAsync(_first);
        using (var store = await OpenAsync(Template))
            await store.EnsureAsync($"{other.Host}/old:1", PullPolicy.Missing, null, Cancellation);
        await KillAtEachStepAsync(
            ["pull", Reference], ["collect: rename", "collect: delete rootfs.erofs", "collect: references.json: rename"],
            limit: "4096");
    }

    [Fact]
    public async Task Killed_while_cleaning_up_after_one_that_was_killed()
    {
        var image = await ImportAsync(_first, "app");
        await ImportAsync(_second, "other");
        var images = Path.Combine(Template, "images");
        foreach (var directory in (string[])["1", "removed-1"])
        {
            Directory.CreateDirectory(Path.Combine(images, "tmp", directory));
            await File.WriteAllTextAsync(Path.Combine(images, "tmp", directory, "rootfs.erofs"), "half", Cancellation);
        }
        await File.WriteAllTextAsync(Path.Combine(images, "tmp", "references-2"), "half", Cancellation);
        File.Delete(Path.Combine(Path.GetDirectoryName(image.RootfsPath)!, "image.json"));
        await KillAtEachStepAsync(
            ["open"], ["open: sweep: delete rootfs.erofs", "open: remove: rename", "open: remove: delete rootfs.erofs", "open: references.json: rename"]);
    }

    [Fact]
    public async Task Killed_while_building_outside_of_a_store_leaves_nothing_that_the_next_run_does_not_clean_up()
    {
        var output = Path.Combine(_directory, "out", "app.erofs");
        Directory.CreateDirectory(Path.GetDirectoryName(output)!);
        string[] build = ["build", $"oci:{_first.Directory}", output];
        // One that was killed before, and something that is not of us.
        var leftover = $"{output}.abcdefgh.123.partial";
        await File.WriteAllTextAsync(leftover, "half", Cancellation);
        await File.WriteAllTextAsync($"{output}.mine.partial", "keep", Cancellation);
        var steps = await KilledStore.RunAsync(build);
        Assert.Equal(["file: sweep", "file: create", "file: write", "file: flush", "file: rename", "file: flush directory"], steps);
        var whole = await File.ReadAllBytesAsync(output, Cancellation);

        for (var step = 1; step <= steps.Count; step++)
        {
            File.Delete(output);
            await File.WriteAllTextAsync(leftover, "half", Cancellation);
            Assert.Equal(steps[step - 1], await KilledStore.RunToAsync(step, build, Cancellation));
            if (File.Exists(output))
                Assert.Equal(whole, await File.ReadAllBytesAsync(output, Cancellation));
            await KilledStore.RunAsync(build);
            Assert.Equal(whole, await File.ReadAllBytesAsync(output, Cancellation));
            Assert.Equal(
                ["app.erofs", "app.erofs.mine.partial"], Directory.GetFiles(Path.GetDirectoryName(output)!).Select(Path.GetFileName).Order());
        }
        TestContext.Current.SendDiagnosticMessage($"killed at {steps.Count} steps");
    }

    /// <summary>What was to go may be gone already.</summary>
    private static async Task AgainAsync(string[] operation)
    {
        try
        {
            await KilledStore.RunAsync(operation);
        }
        catch (ImageException e) when (operation.Contains("rm") && e.Code == "image-not-found")
        {
        }
    }

    /// <param name="operation">Done to a copy of the template for each of its steps.</param>
    /// <param name="expected">Steps that must be among them, so that the test knows what it is about.</param>
    /// <param name="isDamageUnknown">The template has a damaged image that the store does not know of yet.</param>
    private async Task KillAtEachStepAsync(string[] operation, string[] expected, bool isDamageUnknown = false, string limit = "-")
    {
        Directory.CreateDirectory(Template);
        var undisturbed = Path.Combine(_directory, "undisturbed");
        KilledStore.Copy(Template, undisturbed);
        var steps = await KilledStore.RunAsync([undisturbed, limit, .. operation]);
        Assert.Equal([], expected.Except(steps));
        var end = await LookAsync(undisturbed, false);

        for (var step = 1; step <= steps.Count; step++)
        {
            var data = Path.Combine(_directory, $"step-{step}");
            KilledStore.Copy(Template, data);
            string[] there = [data, limit, .. operation];
            var name = await KilledStore.RunToAsync(step, there, Cancellation);
            try
            {
                await LookAsync(data, isDamageUnknown);
                await AgainAsync(there);
                Assert.Equal(end, await LookAsync(data, false));
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"after SIGKILL before step {step}, {name}: {e.Message}", e);
            }
            Directory.Delete(data, recursive: true);
        }
        TestContext.Current.SendDiagnosticMessage($"killed at {steps.Count} steps");
    }

    /// <summary>Opens the store, checks that it is sound, on disk too, and describes it.</summary>
    private static async Task<List<string>> LookAsync(string data, bool mayBeDamaged)
    {
        var described = new List<string>();
        using (var store = await OpenAsync(data))
        {
            foreach (var image in store.List())
            {
                var digest = "sha256:" + Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(image.RootfsPath, Cancellation)));
                Assert.True(mayBeDamaged || digest == image.RootfsDigest || image.IsDamaged, $"{image.ManifestDigest} is damaged");
                described.Add($"{image.ManifestDigest} {string.Join(' ', image.References)} {image.IsImported} {image.IsDamaged}");
            }
        }
        var images = Path.Combine(data, "images");
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(images, "tmp")));
        var digests = Directory.GetDirectories(Path.Combine(images, "sha256")).Select(path => "sha256:" + Path.GetFileName(path)).Order().ToList();
        Assert.Equal(digests, described.Select(text => text.Split(' ')[0]).Order());
        var file = Path.Combine(images, "references.json");
        if (File.Exists(file))
        {
            var names = JsonSerializer.Deserialize<Dictionary<string, string>>(await File.ReadAllBytesAsync(file, Cancellation))!;
            Assert.All(names.Values, digest => Assert.Contains(digest, digests));
        }
        return [.. described.Order()];
    }

    private async Task<StoredImage> ImportAsync(OciLayout layout, string name)
    {
        using var store = await OpenAsync(Template);
        return await store.ImportAsync(layout.Directory, name, Cancellation);
    }

    /// <summary>Changes one byte of the rootfs.</summary>
    private async Task DamageAsync(StoredImage image, bool isKnown = true)
    {
        using (var file = File.OpenHandle(image.RootfsPath, FileMode.Open, FileAccess.ReadWrite))
            RandomAccess.Write(file, "X"u8, image.RootfsBytes - 10);
        if (!isKnown)
            return;
        using var store = await OpenAsync(Template);
        await foreach (var found in store.VerifyAsync(null, Cancellation))
            Assert.NotNull(found.Damage);
    }

    private OciLayout Layout(string name) =>
        new LayoutBuilder(Directory.CreateDirectory(Path.Combine(_directory, name)).FullName)
            .Layer(new TarBuilder().File("base", "of all").ToArray())
            .Layer(new TarBuilder().File("hello", name).ToArray())
            .Build();

    private static Task<ImageStore> OpenAsync(string data) =>
        ImageStore.OpenAsync(new ImageStoreOptions { DataDirectory = data }, TimeProvider.System, Cancellation);
}
