using System.Globalization;
using System.Text;
using Ravel.Vmm;
using Ravel.Vmm.Boot;

namespace Ravel.Unit.Boot;

public sealed class InitramfsBuilderTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("ravel-initramfs-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private sealed record Entry(string Name, int Mode, int DeviceMajor, int DeviceMinor, byte[] Content);

    private string Init(string content = "init")
    {
        var path = Path.Combine(_root, "ravel-init");
        File.WriteAllText(path, content);
        return path;
    }

    private GuestKernel Kernel(params string[] modules)
    {
        var directory = Path.Combine(_root, "modules");
        foreach (var module in modules)
        {
            var path = Path.Combine(directory, module);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, $"content of {Path.GetFileNameWithoutExtension(module)}");
        }
        return new GuestKernel("6.1", Path.Combine(_root, "vmlinuz"), modules.Length == 0 ? null : directory);
    }

    private Task<string> BuildAsync(GuestKernel kernel) =>
        new InitramfsBuilder(Path.Combine(_root, "out")).BuildAsync(Path.Combine(_root, "ravel-init"), kernel, CancellationToken.None);

    private static Dictionary<string, Entry> Read(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var entries = new Dictionary<string, Entry>();
        var at = 0;
        while (true)
        {
            int Field(int index) => int.Parse(Encoding.ASCII.GetString(bytes, at + 6 + (index * 8), 8), NumberStyles.HexNumber, null);
            Assert.Equal("070701", Encoding.ASCII.GetString(bytes, at, 6));
            var (mode, size, nameSize) = (Field(1), Field(6), Field(11));
            var name = Encoding.ASCII.GetString(bytes, at + 110, nameSize - 1);
            var content = (at + 110 + nameSize + 3) & ~3;
            if (name == "TRAILER!!!")
                return entries;
            Assert.Equal(0, Field(2));
            Assert.Equal(0, Field(5));
            entries.Add(name, new Entry(name, mode, Field(9), Field(10), bytes[content..(content + size)]));
            at = (content + size + 3) & ~3;
        }
    }

    [Fact]
    public async Task It_holds_init_a_console_and_the_modules_in_load_order()
    {
        Init("the init");
        var entries = Read(await BuildAsync(Kernel(
            "kernel/fs/overlayfs/overlay.ko", "kernel/drivers/virtio/virtio.ko", "kernel/drivers/block/virtio-blk.ko",
            "kernel/net/vmw_vsock/vsock.ko", "kernel/drivers/gpu/unwanted.ko")));
        Assert.Equal("the init", Encoding.ASCII.GetString(entries["init"].Content));
        Assert.Equal(0x81ed, entries["init"].Mode);
        Assert.Equal((0x2180, 5, 1), (entries["dev/console"].Mode, entries["dev/console"].DeviceMajor, entries["dev/console"].DeviceMinor));
        Assert.Equal("content of virtio-blk", Encoding.ASCII.GetString(entries["modules/virtio_blk.ko"].Content));
        Assert.DoesNotContain("modules/unwanted.ko", entries.Keys);
        Assert.Equal(
            "link /modules/virtio.ko\nvsock /modules/vsock.ko\nmachine /modules/virtio_blk.ko\nmachine /modules/overlay.ko\n",
            Encoding.ASCII.GetString(entries["modules/list"].Content));
    }

    [Fact]
    public async Task A_kernel_with_everything_built_in_ships_no_module()
    {
        Init();
        Assert.Empty(Read(await BuildAsync(Kernel()))["modules/list"].Content);
    }

    [Fact]
    public async Task The_same_inputs_are_one_file_and_others_another()
    {
        Init();
        var kernel = Kernel("erofs.ko");
        var first = await BuildAsync(kernel);
        var bytes = await File.ReadAllBytesAsync(first);
        File.SetLastWriteTimeUtc(Path.Combine(_root, "ravel-init"), DateTime.UnixEpoch);
        Assert.Equal(first, await BuildAsync(kernel));
        File.Delete(first);
        Assert.Equal(first, await BuildAsync(kernel));
        Assert.Equal(bytes, await File.ReadAllBytesAsync(first));
        Init("another");
        Assert.NotEqual(first, await BuildAsync(kernel));
        Assert.Equal(2, Directory.GetFiles(Path.Combine(_root, "out")).Length);
    }

    [Fact]
    public async Task An_appended_signature_is_left_out()
    {
        Init();
        var kernel = Kernel("erofs.ko");
        var info = new byte[12];
        info[11] = 5;
        byte[] signed = [.. "ELF"u8, .. "12345"u8, .. info, .. "~Module signature appended~\n"u8];
        await File.WriteAllBytesAsync(Path.Combine(kernel.ModulesDirectory!, "erofs.ko"), signed);
        Assert.Equal("ELF", Encoding.ASCII.GetString(Read(await BuildAsync(kernel))["modules/erofs.ko"].Content));
    }

    [Fact]
    public async Task A_missing_init_is_an_error_that_names_it()
    {
        var error = await Assert.ThrowsAsync<VmmException>(() => BuildAsync(Kernel()));
        Assert.Contains(Path.Combine(_root, "ravel-init"), error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_script_that_fetches_a_kernel_takes_the_modules_that_are_loaded()
    {
        var script = File.ReadAllText(Path.Combine(RepositoryRoot(), "scripts/fetch-guest-kernel"));
        var start = script.IndexOf("MODULES=\"", StringComparison.Ordinal) + "MODULES=\"".Length;
        var listed = script[start..script.IndexOf('"', start)].Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(GuestModules.InLoadOrder.Select(m => m.Name).Order(), listed.Order());
    }

    private static string RepositoryRoot()
    {
        var directory = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(directory, "Ravel.slnx")))
            directory = Path.GetDirectoryName(directory) ?? throw new InvalidOperationException("not in the repository");
        return directory;
    }
}
