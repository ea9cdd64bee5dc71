using Ravel.Linux.Processes;
using Ravel.Testing.Needs;
using Ravel.Testing.Repository;
using Ravel.Vmm.Boot;

namespace Ravel.Integration.Boot;

public sealed class RealKernelTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-kernel-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

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
