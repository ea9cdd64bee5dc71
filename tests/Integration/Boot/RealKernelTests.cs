using Ravel.Linux.Processes;
using Ravel.Testing.Needs;
using Ravel.Testing.Repository;
using Ravel.Vmm.Boot;
using Ravel.Vmm.Kernels;

namespace Ravel.Integration.Boot;

public sealed class RealKernelTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-kernel-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task The_distributions_kernel_with_its_modules_can_be_added_and_booted_like_the_hosts_own()
    {
        var catalog = new KernelCatalog(executableDirectory: SourceTree.PathOf("artifacts/bin"));
        if (catalog.TryFind() is not { } stock)
        {
            Need.Missing("it needs a guest kernel (./dev setup fetches it)");
            return;
        }
        var init = Path.Combine(_directory, "init");
        await File.WriteAllTextAsync(init, "an init", TestContext.Current.CancellationToken);
        using var kernels = new GuestKernels(catalog, _directory, init, TimeProvider.System);
        var pinned = await kernels.PinAsync("stock", TestContext.Current.CancellationToken);
        Assert.Equal((stock.Release, stock.Release, 14), (pinned.Name, pinned.Release, pinned.Modules));
        using var own = await kernels.PrepareAsync("", TestContext.Current.CancellationToken);
        using var copy = await kernels.PrepareAsync(pinned.Digest, TestContext.Current.CancellationToken);
        Assert.Equal(own.Boot.InitramfsPath, copy.Boot.InitramfsPath);
        Assert.NotEqual(stock.Path, copy.Boot.KernelPath);

        var file = await File.ReadAllBytesAsync(stock.Path, TestContext.Current.CancellationToken);
        var alone = await kernels.AddAsync(Chunk(file), "alone", TestContext.Current.CancellationToken);
        Assert.Equal((KernelFormat.BzImage, stock.Release, 0), (alone.Format, alone.Release, alone.Modules));
        var error = await Assert.ThrowsAsync<KernelException>(
            () => kernels.AddAsync(Chunk(file.AsMemory(0, file.Length / 2)), null, TestContext.Current.CancellationToken));
        Assert.Contains("truncated", error.Message, StringComparison.Ordinal);
    }

    private static async IAsyncEnumerable<ReadOnlyMemory<byte>> Chunk(ReadOnlyMemory<byte> content)
    {
        await Task.CompletedTask;
        yield return content;
    }

    [Fact]
    public async Task The_distributions_kernel_unpacks_to_an_elf_whose_segments_are_all_there()
    {
        var kernel = new KernelCatalog(executableDirectory: SourceTree.PathOf("artifacts/bin")).TryFind();
        if (kernel is null)
            Need.Missing("it needs a guest kernel (./dev setup fetches it)");
        Need.Program("readelf");
        var elf = await KernelImage.EnsureElfAsync(kernel!.Path, _directory, TestContext.Current.CancellationToken);
        Assert.Equal(elf, await KernelImage.EnsureElfAsync(kernel.Path, _directory, TestContext.Current.CancellationToken));
        var headers = await CommandRunner.RunCheckedAsync("readelf", ["-hlW", elf]);
        Assert.Contains("Advanced Micro Devices X86-64", headers, StringComparison.Ordinal);
        Assert.Contains("EXEC", headers, StringComparison.Ordinal);
        var size = new FileInfo(elf).Length;
        var segments = headers.Split('\n').Where(l => l.TrimStart().StartsWith("LOAD", StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(segments);
        foreach (var segment in segments)
        {
            var fields = segment.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            Assert.True(Convert.ToInt64(fields[1], 16) + Convert.ToInt64(fields[4], 16) <= size, segment);
        }
    }
}
