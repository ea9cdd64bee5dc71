using System.Globalization;
using Ravel.Linux.Cgroups;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;
using Ravel.Testing.Needs;
using Ravel.Vmm;
using Ravel.Vmm.Boot;

namespace Ravel.Testing.Vmm;

/// <summary>A driver that boots a real kernel with ravel-init, whose rootfs is a busybox.</summary>
public sealed class BootedGuestHarness : VmmHarness
{
    private const string Busybox = "/bin/busybox";

    private static readonly SemaphoreSlim Preparing = new(1);

    private readonly BootSource _boot;
    private readonly string _rootfs;
    private readonly CgroupTree _cgroups;

    private BootedGuestHarness(IVmmDriver driver, CgroupTree cgroups, BootSource boot, string rootfs)
    {
        Driver = driver;
        _cgroups = cgroups;
        _boot = boot;
        _rootfs = rootfs;
    }

    public override IVmmDriver Driver { get; }

    public override bool KeepsTheGuestsEnd => Driver.Name == "qemu";

    public override IReadOnlyList<string> PrintLastDrives => Shell("head -n 1 /dev/vdb; head -n 1 /dev/vdc");

    public override IReadOnlyList<string> RunForEver => [Busybox, "sleep", "100000"];

    protected override BootSource Boot => _boot;

    /// <summary>Prepares what guests boot, once per process, or skips the test where something is missing.</summary>
    public static async Task<BootedGuestHarness> CreateAsync(VmmOptions options)
    {
        Need.Root();
        Need.Program("busybox");
        Need.Program("mkfs.erofs");
        var init = Path.Combine(RepositoryRoot.Path, "artifacts", "bin", "ravel-init");
        Need.File(init);
        var kernels = new KernelCatalog(Environment.GetEnvironmentVariable("RAVEL_KERNEL"), Path.GetDirectoryName(init));
        if (kernels.TryFind() is null)
            Need.Missing("it needs a guest kernel (./dev setup makes it)");
        var data = Path.Combine(RepositoryRoot.Path, "artifacts", "test", "vmm");
        Directory.CreateDirectory(data);
        // The kernel's own words say where a boot that hangs stopped.
        var own = options with { CgroupRoot = $"ravel-test-{Environment.ProcessId}" };
        // Test classes run beside each other and make the same files.
        await Preparing.WaitAsync();
        try
        {
            var boot = await new GuestBoot(kernels, data, init).PrepareAsync(CancellationToken.None) with { ExtraArguments = "loglevel=6" };
            return new BootedGuestHarness(VmmDrivers.Create(own), CgroupTree.Detect(own.CgroupRoot), boot, await MakeRootfsAsync(data));
        }
        finally
        {
            Preparing.Release();
        }
    }

    public override IReadOnlyList<string> PrintAndExit(string words, int code) =>
        Shell(string.Create(CultureInfo.InvariantCulture, $"echo {words}; exit {code}"));

    public override IReadOnlyList<string> WriteConsole(int bytes) =>
        Shell(string.Create(CultureInfo.InvariantCulture, $"head -c {bytes} /dev/zero | tr '\\0' x > /dev/console"));

    public Cgroup GroupOf(VmSpec spec) => _cgroups.Open(spec.Cgroup);

    public override IReadOnlyList<string> Leftovers(VmSpec spec) => ProcessLeftovers.Of(spec, _cgroups);

    protected override IReadOnlyList<Drive> NewDrives(int number) =>
        [new Drive("root", _rootfs, ReadOnly: true), .. MarkedDrives(number)];

    private static IReadOnlyList<string> Shell(string script) => [Busybox, "sh", "-c", script];

    private static async Task<string> MakeRootfsAsync(string directory)
    {
        var image = Path.Combine(directory, "busybox.erofs");
        if (File.Exists(image))
            return image;
        var tree = Directory.CreateTempSubdirectory("rv-rootfs-").FullName;
        try
        {
            foreach (var name in (string[])["bin", "dev", "etc", "proc", "run", "sys", "tmp"])
                Directory.CreateDirectory(Path.Combine(tree, name));
            var busybox = Path.Combine(tree, "bin", "busybox");
            File.Copy((await CommandRunner.RunCheckedAsync("sh", ["-c", "command -v busybox"])).Trim(), busybox);
            foreach (var name in (string[])["sh", "head", "tr", "echo", "cat", "sleep"])
                File.CreateSymbolicLink(Path.Combine(tree, "bin", name), "busybox");
            var partial = $"{image}.{Environment.ProcessId}";
            await CommandRunner.RunCheckedAsync("mkfs.erofs", ["-T0", "--all-root", partial, tree]);
            File.Move(partial, image, overwrite: true);
            return image;
        }
        finally
        {
            Directory.Delete(tree, recursive: true);
        }
    }
}
