using System.Globalization;
using Ravel.Images;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>What only shows at size: holes, files of many GiB, directories of 100,000 names, and the disk a build takes.</summary>
public sealed class LargeRootfsTests : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-large-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string Rootfs => Path.Combine(_directory, "rootfs.erofs");

    public async ValueTask DisposeAsync() => await ImageRecipe.DeleteAsync(_directory);

    [Theory]
    [InlineData("--format=gnu")]
    [InlineData("--format=pax --sparse-version=0.1")]
    [InlineData("--format=pax --sparse-version=1.0")]
    public async Task A_sparse_file_of_20_gibibytes_stays_sparse_and_right_at_both_ends(string format)
    {
        var archive = Path.Combine(_directory, "sparse.tar");
        await ShellAsync(
            $$"""
            mkdir tree; truncate -s 20G tree/disk
            for at in 0 1 9000 10239 20478; do printf "data at $at" | dd of=tree/disk bs=1M seek=$at conv=notrunc status=none; done
            printf end | dd of=tree/disk bs=1 seek=21474836477 conv=notrunc status=none
            tar --sparse {{format}} -cf "{{archive}}" -C tree .
            """);
        Assert.InRange(new FileInfo(archive).Length, 1024, 1024 * 1024);

        await using (var layer = File.OpenRead(archive))
            Assert.InRange(TestRootfs.BuildFile(Rootfs, new ImageLimits(), layer), 20L << 30, (20L << 30) + (1L << 20));
        Assert.InRange(await AllocatedAsync(Rootfs), 1, 8L << 20);
        await using var mounted = await MountedErofs.MountAsync(Rootfs, Cancellation);
        await using var disk = File.OpenRead(Path.Combine(mounted.Path, "disk"));
        Assert.Equal(20L << 30, disk.Length);
        foreach (var at in (long[])[0, 1, 9000, 10239, 20478])
            Assert.Equal($"data at {at}\0\0", await TextAtAsync(disk, at << 20, $"data at {at}".Length + 2));
        Assert.Equal("\0\0end", await TextAtAsync(disk, (20L << 30) - 5, 5));
    }

    [Fact]
    public async Task Megabytes_of_zeros_take_no_room_on_the_disk()
    {
        var archive = new TarBuilder().File("before", "x").Entry('0', "zeros"u8.ToArray(), content: [.. "a"u8, .. new byte[32 << 20], .. "b"u8]).File("after", "y").ToArray();
        using (var layer = new MemoryStream(archive))
            Assert.InRange(TestRootfs.BuildFile(Rootfs, new ImageLimits(), layer), 32 << 20, 33 << 20);
        Assert.InRange(await AllocatedAsync(Rootfs), 1, 256 << 10);
        await using var mounted = await MountedErofs.MountAsync(Rootfs, Cancellation);
        var zeros = await File.ReadAllBytesAsync(Path.Combine(mounted.Path, "zeros"), Cancellation);
        Assert.Equal(((byte)'a', (byte)'b', (32 << 20) + 2), (zeros[0], zeros[^1], zeros.Length));
        Assert.False(zeros.AsSpan(1, 32 << 20).ContainsAnyExcept((byte)0));
        Assert.Equal("y", await File.ReadAllTextAsync(Path.Combine(mounted.Path, "after"), Cancellation));
    }

    [Fact]
    public async Task The_kernel_finds_each_of_100_000_names_of_one_directory()
    {
        const int Names = 100_000;
        var archive = new TarBuilder().Directory("d");
        for (var i = 0; i < Names; i++)
            archive.File(string.Create(CultureInfo.InvariantCulture, $"d/{i * 7919L % 100_003:d6}"), i % 10 == 0 ? $"{i}" : "");
        using (var layer = new MemoryStream(archive.ToArray()))
            TestRootfs.BuildFile(Rootfs, new ImageLimits(), layer);
        await CommandRunner.RunCheckedAsync("fsck.erofs", [Rootfs], timeout: TimeSpan.FromMinutes(1), cancellationToken: Cancellation);
        await using var mounted = await MountedErofs.MountAsync(Rootfs, Cancellation);
        var directory = Path.Combine(mounted.Path, "d");
        Assert.Equal(Names, Directory.EnumerateFiles(directory).Count());
        // By name, which the kernel finds by bisection.
        for (var i = 0; i < Names; i += 10)
            Assert.Equal($"{i}", await File.ReadAllTextAsync(string.Create(CultureInfo.InvariantCulture, $"{directory}/{i * 7919L % 100_003:d6}"), Cancellation));
        Assert.False(File.Exists(Path.Combine(directory, "nothing")));
    }

    [Fact]
    public async Task A_pull_never_takes_more_disk_than_its_result()
    {
        await using var registry = await RegistryFixture.StartAsync(cancellationToken: Cancellation);
        var reference = await registry.PushAsync(await SoftwareImages.All["perl-in-layers"].BuildAsync(Cancellation), "perl:1", Cancellation);
        var data = Path.Combine(_directory, "data");
        using var store = await ImageStore.OpenAsync(
            new ImageStoreOptions { DataDirectory = data, Registry = new RegistryOptions() }, TimeProvider.System, Cancellation);
        var before = SizeOf(data);
        var watch = new DiskWatch(() => SizeOf(data) - before);
        var image = await store.EnsureAsync(reference, PullPolicy.Missing, watch, Cancellation);

        // The lengths of all files, holes included, which is more than they take; the store's own record is a few KiB.
        Assert.InRange(watch.Peak, image.RootfsBytes / 4, image.RootfsBytes + (64 << 10));
        Assert.InRange(SizeOf(data) - before, image.RootfsBytes, image.RootfsBytes + (64 << 10));
    }

    private static long SizeOf(string directory)
    {
        long sum = 0;
        foreach (var file in Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories))
        {
            try
            {
                sum += new FileInfo(file).Length;
            }
            catch (FileNotFoundException)
            {
                // Renamed meanwhile.
            }
        }
        return sum;
    }

    private static async Task<long> AllocatedAsync(string file) =>
        512 * long.Parse(await CommandRunner.RunCheckedAsync("stat", ["--format=%b", file], cancellationToken: Cancellation), CultureInfo.InvariantCulture);

    private static async Task<string> TextAtAsync(FileStream file, long offset, int length)
    {
        var bytes = new byte[length];
        file.Position = offset;
        await file.ReadExactlyAsync(bytes, Cancellation);
        return System.Text.Encoding.Latin1.GetString(bytes);
    }

    private Task ShellAsync(string script) => CommandRunner.RunCheckedAsync(
        "/bin/sh", ["-ec", $"cd \"$1\"\n{script}", "sh", _directory], timeout: TimeSpan.FromMinutes(1), cancellationToken: Cancellation);

    /// <summary>Looks each time something is reported: at every chunk that arrives.</summary>
    private sealed class DiskWatch(Func<long> look) : IProgress<ImageProgress>
    {
        private long _peak;

        public long Peak => Interlocked.Read(ref _peak);

        public void Report(ImageProgress value)
        {
            var now = look();
            for (var peak = Peak; now > peak; peak = Peak)
                Interlocked.CompareExchange(ref _peak, now, peak);
        }
    }
}
