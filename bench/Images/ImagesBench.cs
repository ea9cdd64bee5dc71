using System.Diagnostics;
using System.Globalization;
using Ravel.Bench.Results;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Bench.Images;

/// <summary>
/// From a reference in a loopback registry to a root file system a machine can mount: ours, against the tools one would use
/// instead, and against the floor of any such tool, which is inflating the layers.
/// </summary>
internal static class ImagesBench
{
    private const string Explanation =
        "From an image in a registry on this host (docker-registry, 127.0.0.1) to its root file system: ours as a process of its own "
        + "(start of the runtime and flush to the disk included), against `skopeo copy` + `umoci unpack` + `mkfs.erofs`, `ctr images pull` where containerd is installed, and the "
        + "floor: `gzip -dc` of the same layers to /dev/null, without registry, digests or output.";

    public static BenchCommand Command { get; } = new(
        "images", "[--rounds N] [--image large|many-files|many-layers]... [--only ours|rivals] [--write]",
        "from a registry to a rootfs: ours, containerd, skopeo + umoci + mkfs.erofs, gzip", (arguments, token) => RunAsync(arguments, token));

    public static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var rounds = 5;
        var write = false;
        var only = "";
        var names = new List<string>();
        for (var i = 0; i < arguments.Count; i++)
        {
            string Value() => ++i < arguments.Count ? arguments[i] : throw new BenchUsageException($"{arguments[^1]} needs a value");
            switch (arguments[i])
            {
                case "--rounds":
                    rounds = int.TryParse(Value(), CultureInfo.InvariantCulture, out var given) && given > 0 ? given : throw new BenchUsageException("--rounds takes a number");
                    break;
                case "--image":
                    names.Add(Value());
                    break;
                case "--only":
                    only = Value() is "ours" or "rivals" ? arguments[i] : throw new BenchUsageException("--only takes ours or rivals");
                    break;
                case "--write":
                    write = true;
                    break;
                default:
                    throw new BenchUsageException($"unknown argument '{arguments[i]}'");
            }
        }
        if (names.Count == 0)
            names.AddRange(["large", "many-files", "many-layers"]);
        var images = names.Select(name => (name, RecipeOf(name))).ToList();
        foreach (var (name, recipe) in images)
            await MeasureAsync(name, recipe, rounds, only, write, cancellationToken);
        return 0;
    }

    private static ImageRecipe RecipeOf(string name) =>
        name switch
        {
            "large" => LargeImages.OneLayer,
            "many-files" => LargeImages.ManyFiles,
            "many-layers" => LargeImages.ManyLayers,
            _ => throw new BenchUsageException($"there is no image '{name}'"),
        };

    private static async Task MeasureAsync(
        string name, ImageRecipe recipe, int rounds, string only, bool write, CancellationToken cancellationToken)
    {
        Console.WriteLine($"preparing the {name} image");
        var image = await recipe.BuildAsync(cancellationToken);
        await using var registry = await RegistryFixture.StartAsync(cancellationToken: cancellationToken);
        var reference = await registry.PushAsync(image, $"{name}:1", cancellationToken);
        var work = Directory.CreateTempSubdirectory("ravel-bench-images-").FullName;
        try
        {
            var layers = await LayersAsync(image, cancellationToken);
            var stored = layers.Sum(layer => new FileInfo(layer).Length);
            Console.WriteLine($"{layers.Count} layers, {stored / 1e6:0} MB as stored");
            var ours = new OwnBuild(reference, Path.Combine(work, "rootfs.erofs"));
            await using var containerd = only == "ours" ? null : await ContainerdPull.StartAsync(Path.Combine(work, "containerd"), cancellationToken);
            var contestants = new List<Contestant>();
            if (only != "rivals")
                contestants.Add(new("ravel", ours.MeasureAsync));
            if (containerd is not null)
                contestants.Add(new("ctr images pull", token => containerd.MeasureAsync(reference, token)));
            if (only != "ours")
                contestants.Add(new("skopeo + umoci + mkfs.erofs", token => RivalsAsync(reference, work, token)));
            contestants.Add(new("gzip -dc", token => GzipAsync(layers, token)));

            var samples = await Comparison.RunAsync(contestants, rounds, Console.Error, cancellationToken);
            var table = ResultTable.Render($"{name} ({stored / 1e6:0} MB stored, {ours.RootfsBytes / 1e6:0} MB rootfs)", samples);
            var resources = only == "rivals" ? "" : $"ours: {ours.MedianCpuSeconds:0.00} CPU-seconds (median), peak RSS {ours.PeakBytes / 1048576.0:0} MiB (highest)";
            Console.WriteLine();
            Console.WriteLine(table);
            Console.WriteLine(resources);
            if (write)
            {
                await BenchmarksPage.WriteAsync(
                    name == "large" ? "images" : $"images-{name}", $"images --image {name}", Explanation, $"{table}\n{resources}\n", cancellationToken);
            }
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    private static async Task<TimeSpan> RivalsAsync(string reference, string work, CancellationToken cancellationToken)
    {
        var directory = Path.Combine(work, "rivals");
        Directory.CreateDirectory(directory);
        var watch = Stopwatch.StartNew();
        await RunAsync("skopeo", ["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", $"docker://{reference}", $"oci:{directory}/layout:1"], cancellationToken);
        await RunAsync("umoci", ["unpack", "--image", $"{directory}/layout:1", $"{directory}/bundle"], cancellationToken);
        await RunAsync("mkfs.erofs", [$"{directory}/rootfs.erofs", $"{directory}/bundle/rootfs"], cancellationToken);
        watch.Stop();
        Directory.Delete(directory, recursive: true);
        return watch.Elapsed;
    }

    private static async Task<TimeSpan> GzipAsync(IReadOnlyList<string> layers, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        await RunAsync("/bin/sh", ["-c", "gzip -dc \"$@\" > /dev/null", "sh", .. layers], cancellationToken);
        return watch.Elapsed;
    }

    private static async Task<IReadOnlyList<string>> LayersAsync(OciLayout image, CancellationToken cancellationToken)
    {
        var manifest = await CommandRunner.RunCheckedAsync("skopeo", ["inspect", "--raw", $"{image}"], cancellationToken: cancellationToken);
        using var document = System.Text.Json.JsonDocument.Parse(manifest);
        return [.. document.RootElement.GetProperty("layers").EnumerateArray()
            .Select(layer => $"{image.Directory}/blobs/sha256/{layer.GetProperty("digest").GetString()!["sha256:".Length..]}")];
    }

    private static Task RunAsync(string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken) =>
        CommandRunner.RunCheckedAsync(program, arguments, timeout: TimeSpan.FromMinutes(10), cancellationToken: cancellationToken);
}
