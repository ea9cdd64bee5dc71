using System.Diagnostics;
using Ravel.Bench.Results;
using Ravel.Bench.Start;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Testing.Images;
using Ravel.Vmm;
using Ravel.Vmm.Boot;
using Ravel.Vmm.Kernels;

namespace Ravel.Bench.Kernels;

/// <summary>How long a guest takes to its init with the small kernel, against the stock one.</summary>
internal static class KernelBenchmark
{
    private const string BuildKeyFile = "build.key";

    private const string Explanation =
        "From the launch of the VMM (QEMU, the accelerator that works here) to the hello of `ravel-init` over the link, with the small "
        + "kernel of `ravel kernel build` and with the stock one of `./dev setup`, in turn. No disk and no network is attached.";

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    public static BenchCommand Command { get; } =
        new("kernel", "[--rounds N] [--write]", "from launch to init: the small kernel, built if missing, against the stock one", RunAsync);

    private static string Artifacts => Path.Combine(RepositoryRoot.Path, "artifacts");

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var (rounds, write) = StartBenchmark.Parse(arguments);
        await EnsureSmallAsync(cancellationToken);
        var work = Directory.CreateTempSubdirectory("ravel-bench-kernel-").FullName;
        try
        {
            var driver = VmmDrivers.Create(VmmOptions.FromEnvironment(Environment.GetEnvironmentVariable) with { CgroupRoot = "ravel-bench" });
            var samples = await Comparison.RunAsync(
                [await ContestantAsync("small", KernelBuilder.Name, driver, work, cancellationToken), await ContestantAsync("stock", null, driver, work, cancellationToken)],
                rounds,
                Console.Out,
                cancellationToken);
            var table = ResultTable.Render("launch to init", samples);
            Console.WriteLine();
            Console.Write(table);
            if (write)
                await BenchmarksPage.WriteAsync("kernel", "kernel --write", Explanation, table, cancellationToken);
            return 0;
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    /// <summary>Leaves the small kernel in artifacts/kernel/small, where the end-to-end tests find it too.</summary>
    private static async Task EnsureSmallAsync(CancellationToken cancellationToken)
    {
        var builder = new KernelBuilder(new DebianKernelSource(), Path.Combine(Artifacts, "cache", "kernel-build"));
        var plan = await builder.PlanAsync(cancellationToken);
        var target = Directory.CreateDirectory(Path.Combine(Artifacts, "kernel", KernelBuilder.Name)).FullName;
        var key = Path.Combine(target, BuildKeyFile);
        if (File.Exists(key) && await File.ReadAllTextAsync(key, cancellationToken) == plan.Key)
            return;
        File.Delete(key);
        await builder.BuildAsync(plan, target, new PhaseLines(), cancellationToken);
        await File.WriteAllTextAsync(key, plan.Key, cancellationToken);
        builder.CleanUp();
    }

    private static async Task<Contestant> ContestantAsync(string name, string? kernel, IVmmDriver driver, string work, CancellationToken cancellationToken)
    {
        var catalog = new KernelCatalog(kernel, Path.Combine(Artifacts, "bin"));
        var boot = await new GuestBoot(catalog, Path.Combine(work, name), Path.Combine(Artifacts, "bin", "ravel-init")).PrepareAsync(cancellationToken);
        return new Contestant(name, cancelled => MeasureAsync(driver, boot, Path.Combine(work, "run"), cancelled));
    }

    private static async Task<TimeSpan> MeasureAsync(IVmmDriver driver, BootSource boot, string runDirectory, CancellationToken cancellationToken)
    {
        const string Id = "bench-kernel";
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(Patience);
        Directory.CreateDirectory(runDirectory);
        try
        {
            var spec = new VmSpec { Id = Id, RunDirectory = runDirectory, Cpus = 1, MemoryMib = 256, Boot = boot, Cgroup = Id };
            var began = Stopwatch.GetTimestamp();
            await using var vmm = await driver.LaunchAsync(spec, deadline.Token);
            var channel = await vmm.ConnectGuestAsync(deadline.Token);
            await using var link = await HostLink.ConnectAsync(
                channel.Stream, channel.IsLossy, new HostHello(LinkProtocol.MinimumVersion, LinkProtocol.Version, 0, 0), deadline.Token);
            var taken = Stopwatch.GetElapsedTime(began);
            await vmm.KillAsync(CancellationToken.None);
            return taken;
        }
        finally
        {
            await driver.PurgeAsync(Id, runDirectory, CancellationToken.None);
            Directory.Delete(runDirectory, recursive: true);
        }
    }

    private sealed class PhaseLines : IProgress<KernelBuildProgress>
    {
        private string? _phase;

        public void Report(KernelBuildProgress value)
        {
            if (value.Phase != _phase)
                Console.WriteLine($"  kernel build: {value.Phase}");
            _phase = value.Phase;
        }
    }
}
