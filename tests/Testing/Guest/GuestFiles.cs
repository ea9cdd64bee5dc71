using Ravel.Linux.Processes;
using Ravel.Testing.Needs;
using Ravel.Testing.Repository;
using Ravel.Vmm.Boot;

namespace Ravel.Testing.Guest;

/// <summary>Kernel, initramfs and disks for a guest, made once per test run.</summary>
public sealed class GuestFiles : IAsyncDisposable
{
    private GuestFiles(string directory)
    {
        Directory = directory;
    }

    public string Directory { get; }

    public required string Kernel { get; init; }

    public required string Initramfs { get; init; }

    /// <summary>A small system of busybox with users: <c>app</c> 1000:1000, also in group <c>extra</c> 2000.</summary>
    public required string BusyboxRootfs { get; init; }

    /// <summary>An image with nothing but a static <c>/busybox</c>.</summary>
    public required string ScratchRootfs { get; init; }

    private string EmptyDisk => Path.Combine(Directory, "disk.template");

    public static async Task<GuestFiles> CreateAsync(CancellationToken cancellationToken)
    {
        foreach (var program in (string[])[RawQemu.Program, "mkfs.erofs", "mkfs.ext4", "busybox"])
            Need.Program(program);
        var init = SourceTree.PathOf("artifacts/bin/ravel-init");
        Need.File(init);
        var kernel = new KernelCatalog(Environment.GetEnvironmentVariable("RAVEL_KERNEL"), SourceTree.PathOf("artifacts/bin")).TryFind();
        if (kernel is null)
            Need.Missing("it needs a guest kernel (./dev setup fetches it)");

        var directory = System.IO.Directory.CreateTempSubdirectory("ravel-guest-").FullName;
        var files = new GuestFiles(directory)
        {
            Kernel = kernel!.Path,
            Initramfs = await new InitramfsBuilder(directory).BuildAsync(init, kernel, cancellationToken),
            BusyboxRootfs = Path.Combine(directory, "busybox.erofs"),
            ScratchRootfs = Path.Combine(directory, "scratch.erofs"),
        };
        await files.MakeImagesAsync(cancellationToken);
        return files;
    }

    /// <summary>A fresh writable disk.</summary>
    public string NewDisk()
    {
        var path = Path.Combine(Directory, Path.GetRandomFileName() + ".ext4");
        File.Copy(EmptyDisk, path);
        return path;
    }

    /// <summary>A fresh directory for one VM's sockets.</summary>
    public string NewRunDirectory() => System.IO.Directory.CreateDirectory(Path.Combine(Directory, Path.GetRandomFileName())).FullName;

    public ValueTask DisposeAsync()
    {
        System.IO.Directory.Delete(Directory, recursive: true);
        return ValueTask.CompletedTask;
    }

    private async Task MakeImagesAsync(CancellationToken cancellationToken)
    {
        var busybox = Need.FindProgram("busybox")!;
        var tree = System.IO.Directory.CreateDirectory(Path.Combine(Directory, "busybox")).FullName;
        foreach (var name in (string[])["bin", "etc", "tmp", "home/app"])
            System.IO.Directory.CreateDirectory(Path.Combine(tree, name));
        File.Copy(busybox, Path.Combine(tree, "bin/busybox"));
        foreach (var applet in (await CommandRunner.RunCheckedAsync(busybox, ["--list"], cancellationToken: cancellationToken)).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (applet != "busybox")
                File.CreateSymbolicLink(Path.Combine(tree, "bin", applet), "busybox");
        }
        await File.WriteAllTextAsync(Path.Combine(tree, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n", cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(tree, "etc/group"), "root:x:0:\napp:x:1000:\nextra:x:2000:app,other\n", cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(tree, "etc/data"), "no program\n", cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(tree, "tmp/of-the-image"), "still here\n", cancellationToken);
        File.CreateSymbolicLink(Path.Combine(tree, "etc/resolv.conf"), "../run/systemd/resolve/stub-resolv.conf");
        var script = Path.Combine(tree, "bin/orphaned-script");
        await File.WriteAllTextAsync(script, "#!/no/such/interpreter\n", cancellationToken);
        File.SetUnixFileMode(script, (UnixFileMode)0x1ed);
        await CommandRunner.RunCheckedAsync("mkfs.erofs", ["--quiet", BusyboxRootfs, tree], cancellationToken: cancellationToken);

        var scratch = System.IO.Directory.CreateDirectory(Path.Combine(Directory, "scratch")).FullName;
        File.Copy(busybox, Path.Combine(scratch, "busybox"));
        await CommandRunner.RunCheckedAsync("mkfs.erofs", ["--quiet", ScratchRootfs, scratch], cancellationToken: cancellationToken);

        await using (var disk = File.Create(EmptyDisk))
            disk.SetLength(64 * 1024 * 1024);
        await CommandRunner.RunCheckedAsync("mkfs.ext4", ["-q", "-F", EmptyDisk], cancellationToken: cancellationToken);
    }
}
