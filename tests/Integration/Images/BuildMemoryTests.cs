using System.Globalization;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>The memory a build takes at its peak, in a process of its own: it depends on names, not on bytes.</summary>
public sealed class BuildMemoryTests : IAsyncDisposable
{
    private const long MiB = 1 << 20;

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-memory-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync() => await ImageRecipe.DeleteAsync(_directory);

    [Fact]
    public async Task An_image_a_hundred_times_as_large_takes_the_same_memory()
    {
        var small = await PeakOfAsync(await FilesAsync("small", "4M"));
        var large = await PeakOfAsync(await FilesAsync("large", "400M"));
        // The queues between the stages, which the small image does not fill.
        Assert.InRange(large, 1, small + (64 * MiB));
        Assert.InRange(large, 1, 256 * MiB);
    }

    [Fact]
    public async Task A_hundred_thousand_files_take_under_a_kilobyte_each()
    {
        var archive = new TarBuilder();
        for (var i = 0; i < 100_000; i++)
            archive.File($"usr/share/a-directory-{i / 500}/a-file-of-some-name-{i}", "text");
        var layout = Directory.CreateDirectory(Path.Combine(_directory, "many")).FullName;
        var many = await PeakOfAsync(new LayoutBuilder(layout).Layer(archive.ToArray()).Build());
        var small = await PeakOfAsync(await FilesAsync("small", "4M"));
        Assert.InRange(many, 1, small + (100 * MiB));
        Assert.InRange(many, 1, 256 * MiB);
    }

    /// <summary>Two layers with a file of that size each, the second in the place of the first.</summary>
    private async Task<OciLayout> FilesAsync(string name, string size)
    {
        var image = new OciLayout(Path.Combine(_directory, name));
        await CommandRunner.RunCheckedAsync(
            "/bin/sh",
            [
                "-ec",
                """
                umoci init --layout "$1"; umoci new --image "$1:$2"
                truncate -s "$3" "$1/file"
                for layer in 1 2; do umoci insert --image "$1:$2" "$1/file" /file; done
                rm "$1/file"
                """,
                "sh", image.Directory, image.Tag, size,
            ],
            timeout: TimeSpan.FromMinutes(2), cancellationToken: Cancellation);
        return image;
    }

    /// <summary>Builds in another process.</summary>
    /// <returns>Its largest resident set, in bytes (getrusage(2), <c>ru_maxrss</c>).</returns>
    private async Task<long> PeakOfAsync(OciLayout image)
    {
        const string Measure =
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
            + "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
        var peak = await CommandRunner.RunCheckedAsync(
            "python3",
            ["-c", Measure, Path.Combine(AppContext.BaseDirectory, "Ravel.KilledStore"), "0", "build", $"{image}", Path.Combine(_directory, "rootfs.erofs")],
            timeout: TimeSpan.FromMinutes(2), cancellationToken: Cancellation);
        TestContext.Current.TestOutputHelper?.WriteLine($"{image}: {peak.Trim()} KiB at the peak");
        return 1024 * long.Parse(peak, CultureInfo.InvariantCulture);
    }
}
