using System.Security.Cryptography;
using Ravel.Linux.Files;
using Ravel.Linux.Processes;
using Ravel.Testing.Needs;
using Ravel.Testing.Vmm;
using Ravel.Vmm.Boot;
using Ravel.Vmm.Kernels;

namespace Ravel.Integration.Vmm.Kernels;

/// <summary>
/// The whole recipe on a stand-in for the source package: a .deb with a tar with a Makefile that knows the three goals, writes down
/// what it was told, and copies a file as the kernel.
/// </summary>
public sealed class KernelBuilderTests : IAsyncLifetime
{
    private const string Fragment = "CONFIG_A=y\n# CONFIG_B is not set\n";

    /// <summary>Makefile is what is there to be added to.</summary>
    private static readonly SourceAddition[] Additions = [new("Makefile", "\n# our addition\n")];

    private const string Makefile = """
        tinyconfig:
        	mkdir -p $(O) && printf '# CONFIG_A is not set\nCONFIG_B=y\n' > $(O)/.config
        olddefconfig:
        	awk -F'[= ]' '{ name = $$1 == "#" ? $$2 : $$1; if (name !~ /UNKNOWN/) last[name] = $$0 } END { for (n in last) print last[n] }' $(O)/.config > $(O)/new
        	mv $(O)/new $(O)/.config
        vmlinux:
        	@echo "  CC      one.o"
        	@echo "  LD      vmlinux"
        	@test ! -e $(O)/../../fail || { echo 'one.c:1: error: it is broken' >&2; exit 1; }
        	env | sort > $(O)/environment
        	cp kernel $(O)/vmlinux
        """;

    private readonly string _root = Directory.CreateTempSubdirectory("ravel-kernel-build-").FullName;
    private StandInSource _source = null!;

    private string Work => Path.Combine(_root, "work");

    public async ValueTask InitializeAsync()
    {
        foreach (var tool in (string[])["make", "gcc", "ld", "strip", "dpkg-deb", "tar", "xz", "flock"])
            Need.Program(tool);
        _source = await StandInSource.CreateAsync(Path.Combine(_root, "package"), Makefile);
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(_root, recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task A_kernel_is_built_installed_once_and_found_again_by_what_it_was_made_of()
    {
        var steps = new StepList();
        using var kernels = Kernels();
        var built = await kernels.BuildAsync(steps, TestContext.Current.CancellationToken);
        Assert.Equal(("small", KernelOrigin.Built, KernelFormat.Elf), (built.Name, built.Origin, built.Format));
        Assert.Equal(["source", "unpack", "configure", "compile", "store"], steps.Phases.Distinct());
        Assert.Equal(2, steps.Last("compile").Done);
        Assert.Empty(Directory.EnumerateDirectories(Work));

        Assert.Equal(built.Digest, (await kernels.BuildAsync(null, TestContext.Current.CancellationToken)).Digest);
        Assert.Equal(1, _source.Downloads);
    }

    [Fact]
    public async Task Two_who_ask_at_once_share_one_build()
    {
        using var kernels = Kernels();
        var both = await Task.WhenAll(
            kernels.BuildAsync(null, TestContext.Current.CancellationToken), kernels.BuildAsync(null, TestContext.Current.CancellationToken));
        Assert.Equal(both[0].Digest, both[1].Digest);
        Assert.Equal(1, _source.Downloads);
    }

    [Fact]
    public async Task A_newer_source_is_built_anew_and_the_older_kernel_keeps_its_machines_under_another_name()
    {
        using var kernels = Kernels();
        var older = await kernels.BuildAsync(null, TestContext.Current.CancellationToken);
        await _source.ReplaceKernelAsync("6.1.0-newer");
        var newer = await kernels.BuildAsync(null, TestContext.Current.CancellationToken);
        Assert.NotEqual(older.Digest, newer.Digest);
        Assert.Equal(newer.Digest, (await kernels.FindAsync("small", TestContext.Current.CancellationToken)).Digest);
        Assert.StartsWith("small-", (await kernels.FindAsync(older.Digest, TestContext.Current.CancellationToken)).Name, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_build_that_broke_off_goes_on_where_it_was()
    {
        Directory.CreateDirectory(Work);
        await File.WriteAllTextAsync(Path.Combine(Work, "fail"), "", TestContext.Current.CancellationToken);
        using var kernels = Kernels();
        var error = await Assert.ThrowsAsync<KernelException>(() => kernels.BuildAsync(null, TestContext.Current.CancellationToken));
        Assert.Equal("kernel-build-failed", error.Code);
        Assert.Contains("one.c:1: error: it is broken", error.Message, StringComparison.Ordinal);
        Assert.Contains("failed.log", error.Message, StringComparison.Ordinal);

        File.Delete(Path.Combine(Work, "fail"));
        var steps = new StepList();
        await kernels.BuildAsync(steps, TestContext.Current.CancellationToken);
        Assert.Equal(["compile", "store"], steps.Phases.Distinct());
        Assert.Equal(1, _source.Downloads);
    }

    [Fact]
    public async Task Programs_of_a_build_that_was_cut_off_are_waited_for_and_that_is_said()
    {
        Directory.CreateDirectory(Work);
        var steps = new StepList();
        using var kernels = Kernels();
        Task<InstalledKernel> build;
        using (FileLock.TryAcquire(Path.Combine(Work, "lock")))
        {
            build = kernels.BuildAsync(steps, TestContext.Current.CancellationToken);
            await steps.Waits.Task.WaitAsync(TestContext.Current.CancellationToken);
            Assert.Equal(0, _source.Downloads);
        }
        await build;
        Assert.Equal(["wait", "source", "unpack", "configure", "compile", "store"], steps.Phases.Distinct());
    }

    [Fact]
    public async Task A_kernel_of_the_host_keeps_the_name_and_the_build_gets_one_beside_it()
    {
        var small = Directory.CreateDirectory(Path.Combine(_root, "kernel", "small")).FullName;
        await File.WriteAllBytesAsync(Path.Combine(small, "vmlinux"), KernelBytes.Elf("6.9"), TestContext.Current.CancellationToken);
        using var kernels = Kernels();
        var built = await kernels.BuildAsync(null, TestContext.Current.CancellationToken);
        Assert.Equal($"small-{built.Digest["sha256:".Length..][..8]}", built.Name);
        Assert.Equal(KernelOrigin.Host, (await kernels.FindAsync("small", TestContext.Current.CancellationToken)).Origin);
    }

    [Fact]
    public async Task The_compiler_sees_nothing_of_this_hosts_environment_and_fixed_names_and_dates()
    {
        Directory.CreateDirectory(Work);
        var builder = Builder();
        var plan = await builder.PlanAsync(TestContext.Current.CancellationToken);
        var target = Directory.CreateDirectory(Path.Combine(_root, "target")).FullName;
        await builder.BuildAsync(plan, target, null, TestContext.Current.CancellationToken);
        var environment = await File.ReadAllTextAsync(Path.Combine(Work, plan.Key[..16], "objects", "environment"), TestContext.Current.CancellationToken);
        Assert.Contains("KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970", environment, StringComparison.Ordinal);
        Assert.DoesNotContain("HOME=", environment, StringComparison.Ordinal);
        var source = await File.ReadAllTextAsync(Path.Combine(Work, plan.Key[..16], "source", "Makefile"), TestContext.Current.CancellationToken);
        Assert.EndsWith("\n# our addition\n", source, StringComparison.Ordinal);
        Assert.Equal(KernelFormat.Elf, KernelFile.Inspect(await File.ReadAllBytesAsync(Path.Combine(target, "vmlinux"), TestContext.Current.CancellationToken)).Format);
    }

    [Fact]
    public async Task A_package_that_is_not_what_was_announced_and_an_option_that_is_not_taken_stop_the_build()
    {
        var builder = new KernelBuilder(_source, Work, [], Fragment + "CONFIG_UNKNOWN=\"x\"\n", Additions, 0);
        using (var kernels = Kernels(builder))
        {
            var error = await Assert.ThrowsAsync<KernelException>(() => kernels.BuildAsync(null, TestContext.Current.CancellationToken));
            Assert.Contains("does not take", error.Message, StringComparison.Ordinal);
        }
        _source.Announced = new string('0', 64);
        using (var kernels = Kernels())
        {
            var error = await Assert.ThrowsAsync<KernelException>(() => kernels.BuildAsync(null, TestContext.Current.CancellationToken));
            Assert.Contains("arrived with the digest", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_source_without_the_file_that_is_added_to_stops_the_build()
    {
        using var kernels = Kernels(new KernelBuilder(_source, Work, [], Fragment, [new SourceAddition("arch/apic.c", "int x;")], 0));
        var error = await Assert.ThrowsAsync<KernelException>(() => kernels.BuildAsync(null, TestContext.Current.CancellationToken));
        Assert.Contains("the source has no arch/apic.c", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_disk_without_room_is_told_before_anything_is_downloaded()
    {
        using var kernels = Kernels(new KernelBuilder(_source, Work, [], Fragment, Additions, long.MaxValue));
        Assert.Equal("disk-full", (await Assert.ThrowsAsync<KernelException>(() => kernels.BuildAsync(null, TestContext.Current.CancellationToken))).Code);
        Assert.Equal(0, _source.Downloads);
    }

    private KernelBuilder Builder() => new(_source, Work, [], Fragment, Additions, 0);

    private GuestKernels Kernels(KernelBuilder? builder = null) => new(
        new KernelCatalog(executableDirectory: Path.Combine(_root, "bin"), root: _root), Path.Combine(_root, "data"), null, TimeProvider.System, builder ?? Builder());

    private sealed class StepList : IProgress<KernelBuildProgress>
    {
        private readonly List<KernelBuildProgress> _steps = [];

        public TaskCompletionSource Waits { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public IEnumerable<string> Phases => _steps.Select(step => step.Phase);

        public KernelBuildProgress Last(string phase) => _steps.Last(step => step.Phase == phase);

        public void Report(KernelBuildProgress value)
        {
            lock (_steps)
                _steps.Add(value);
            if (value.Phase == "wait")
                Waits.TrySetResult();
        }
    }

    private sealed class StandInSource : IKernelSource
    {
        private readonly string _directory;

        private StandInSource(string directory) => _directory = directory;

        public IReadOnlyList<BuildTool> Tools => [];

        public int Downloads { get; private set; }

        /// <summary>Instead of the package's real digest.</summary>
        public string? Announced { get; set; }

        private string Package => Path.Combine(_directory, "source.deb");

        public static async Task<StandInSource> CreateAsync(string directory, string makefile)
        {
            var source = new StandInSource(directory);
            Directory.CreateDirectory(Path.Combine(directory, "tree", "linux-source-6.1"));
            await File.WriteAllTextAsync(Path.Combine(directory, "tree", "linux-source-6.1", "Makefile"), makefile);
            await source.ReplaceKernelAsync("6.1.0-stand-in");
            return source;
        }

        /// <summary>A real ELF that passes for a kernel: strip(1) has to take it.</summary>
        public async Task ReplaceKernelAsync(string release)
        {
            var tree = Path.Combine(_directory, "tree");
            var code = Path.Combine(_directory, "kernel.c");
            await File.WriteAllTextAsync(
                code,
                $$"""
                const char banner[] = "Linux version {{release}} (x) #1";
                __attribute__((section(".note.Xen"), aligned(4), used))
                static const struct { unsigned n, d, t; char name[4]; unsigned entry; } note = { 4, 4, 18, "Xen", 0 };
                const char *_start(void) { return banner; }
                """);
            var kernel = Path.Combine(tree, "linux-source-6.1", "kernel");
            await CommandRunner.RunCheckedAsync("gcc", ["-static", "-nostdlib", "-Wl,--build-id=none", "-o", kernel, code]);
            var root = Path.Combine(_directory, "root");
            Directory.CreateDirectory(Path.Combine(root, "usr/src"));
            Directory.CreateDirectory(Path.Combine(root, "DEBIAN"));
            await File.WriteAllTextAsync(
                Path.Combine(root, "DEBIAN/control"), "Package: linux-source-6.1\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n");
            await CommandRunner.RunCheckedAsync("tar", ["-C", tree, "-cJf", Path.Combine(root, "usr/src/linux-source-6.1.tar.xz"), "linux-source-6.1"]);
            await CommandRunner.RunCheckedAsync("dpkg-deb", ["--build", root, Package]);
        }

        public async Task<SourcePackage> LocateAsync(CancellationToken cancellationToken) =>
            new("linux-source-6.1", "1", Announced ?? Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(Package, cancellationToken))));

        public Task<string> DownloadAsync(SourcePackage package, string directory, CancellationToken cancellationToken)
        {
            Downloads++;
            var path = Path.Combine(directory, "source.deb");
            File.Copy(Package, path);
            return Task.FromResult(path);
        }
    }
}
