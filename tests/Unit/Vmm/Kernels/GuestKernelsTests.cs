using System.Formats.Tar;
using System.Runtime.CompilerServices;
using Ravel.Testing.Vmm;
using Ravel.Vmm;
using Ravel.Vmm.Boot;
using Ravel.Vmm.Kernels;

namespace Ravel.Unit.Vmm.Kernels;

public sealed class GuestKernelsTests : IDisposable
{
    private static readonly HashSet<string> Nobody = [];

    private readonly string _root = Directory.CreateTempSubdirectory("ravel-kernels-").FullName;
    private GuestKernels _kernels;

    public GuestKernelsTests()
    {
        Write("opt/bin/ravel-init", "an init"u8.ToArray());
        Write("opt/kernel/6.1.0-9/vmlinuz", KernelBytes.BzImage("6.1.0-9"));
        Write("opt/kernel/6.1.0-9/modules/virtio-blk.ko", "a module"u8.ToArray());
        _kernels = Open();
    }

    private string Data => Path.Combine(_root, "data");

    private static CancellationToken None => CancellationToken.None;

    public void Dispose()
    {
        _kernels.Dispose();
        Directory.Delete(_root, recursive: true);
    }

    [Fact]
    public async Task The_hosts_own_is_listed_and_the_default_before_anything_is_added()
    {
        var kernel = Assert.Single(await _kernels.ListAsync(None));
        Assert.Equal(("6.1.0-9", "6.1.0-9", KernelFormat.BzImage, 1, KernelOrigin.Host, true), (kernel.Name, kernel.Release, kernel.Format, kernel.Modules, kernel.Origin, kernel.IsDefault));
        Assert.Equal(kernel, await _kernels.FindAsync("stock", None));
        Assert.Equal(kernel, await _kernels.FindAsync(kernel.Digest[7..13], None));
        Assert.Equal(kernel, await _kernels.FindAsync($"another-name@{kernel.Digest}", None));
        Assert.False(Directory.Exists(Path.Combine(Data, "kernels")));
    }

    [Fact]
    public async Task An_added_kernel_is_there_after_a_restart_under_the_digest_of_its_file()
    {
        var bytes = KernelBytes.Elf("6.9");
        var added = await AddAsync(bytes, "mine");
        Assert.Equal("sha256:" + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes)), added.Digest);
        Assert.Equal(("mine", "6.9", 0, KernelOrigin.Added), (added.Name, added.Release, added.Modules, added.Origin));

        Reopen();
        Assert.Equal(added, await _kernels.FindAsync("mine", None));
        Assert.Equal(2, (await _kernels.ListAsync(None)).Count);
        Assert.Equal(added.Digest, (await AddAsync(bytes)).Digest);
        Assert.Equal("renamed", (await AddAsync(bytes, "renamed")).Name);
        Assert.Equal(2, (await _kernels.ListAsync(None)).Count);
    }

    [Fact]
    public async Task A_name_is_taken_once_and_has_to_be_one()
    {
        await AddAsync(KernelBytes.Elf("6.8"), "mine");
        await RefusedAsync("name-taken", () => AddAsync(KernelBytes.Elf("6.9"), "mine"));
        await RefusedAsync("name-taken", () => AddAsync(KernelBytes.Elf("6.9"), "6.1.0-9"));
        foreach (var name in (string[])["stock", "", "-x", "a/b", "a@b", new string('a', 65)])
            await RefusedAsync("invalid-request", () => AddAsync(KernelBytes.Elf("6.9"), name));
        // Two of one release, neither named: both can be told apart.
        Assert.Equal("6.7", (await AddAsync(KernelBytes.Elf("6.7"))).Name);
        Assert.StartsWith("6.7-", (await AddAsync(KernelBytes.BzImage("6.7"))).Name, StringComparison.Ordinal);
        Assert.Empty(Leftovers());
    }

    [Fact]
    public async Task What_is_no_kernel_is_refused_and_leaves_nothing()
    {
        await RefusedAsync("kernel-invalid", () => AddAsync("no kernel"u8.ToArray()));
        await RefusedAsync("kernel-invalid", () => AddAsync([]));
        await RefusedAsync("kernel-invalid", () => AddAsync(KernelBytes.Elf()[..200]));
        await RefusedAsync("kernel-invalid", () => AddAsync(Tar(("README", "x"u8.ToArray()))));
        await RefusedAsync("kernel-invalid", () => AddAsync(Tar(("a/vmlinuz", KernelBytes.BzImage()), ("b/vmlinux", KernelBytes.Elf()))));
        await RefusedAsync("kernel-invalid", () => AddAsync(Tar(("vmlinuz", KernelBytes.BzImage()))[..1500]));
        Assert.Empty(Leftovers());
    }

    [Fact]
    public async Task Of_a_tar_only_the_kernel_and_modules_that_guests_load_are_kept()
    {
        var added = await AddAsync(
            Tar(
                ("../../vmlinux", KernelBytes.Elf("6.9")), ("lib/modules/virtio-blk.ko", "blk"u8.ToArray()),
                ("modules/erofs.ko", "erofs"u8.ToArray()), ("modules/nouveau.ko", "no"u8.ToArray()), ("/etc/passwd", "no"u8.ToArray())),
            "mine");
        Assert.Equal(2, added.Modules);
        using var prepared = await _kernels.PrepareAsync(added.Digest, None);
        var directory = Path.GetDirectoryName(prepared.Boot.KernelPath)!;
        Assert.Equal(
            ["kernel.json", "modules/erofs.ko", "modules/virtio_blk.ko", "vmlinux"],
            Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(directory, path)).Order(StringComparer.Ordinal));
        var initramfs = await File.ReadAllTextAsync(prepared.Boot.InitramfsPath);
        Assert.Contains("modules/erofs.ko", initramfs, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_kernel_with_everything_built_in_boots_with_an_initramfs_without_modules()
    {
        var added = await AddAsync(KernelBytes.Elf("6.9"), "mine");
        using var stock = await _kernels.PrepareAsync("", None);
        using var prepared = await _kernels.PrepareAsync(added.Digest, None);
        Assert.NotEqual(stock.Boot.InitramfsPath, prepared.Boot.InitramfsPath);
        Assert.Contains("a module", await File.ReadAllTextAsync(stock.Boot.InitramfsPath), StringComparison.Ordinal);
        Assert.DoesNotContain(".ko", await File.ReadAllTextAsync(prepared.Boot.InitramfsPath), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_chosen_default_is_booted_until_the_hosts_own_is_chosen_again()
    {
        var added = await AddAsync(KernelBytes.Elf("6.9"), "mine");
        Assert.True((await _kernels.SetDefaultAsync("mine", None)).IsDefault);
        Reopen();
        using (var prepared = await _kernels.PrepareAsync("", None))
            Assert.Equal(added.Digest, prepared.Digest);
        await RefusedAsync("kernel-in-use", () => _kernels.RemoveAsync("mine", () => Nobody, None));

        await _kernels.SetDefaultAsync("stock", None);
        using (var prepared = await _kernels.PrepareAsync("", None))
            Assert.EndsWith("6.1.0-9/vmlinuz", prepared.Boot.KernelPath, StringComparison.Ordinal);
        Assert.Equal(added.Digest, (await _kernels.RemoveAsync("mine", () => Nobody, None)).Digest);
        Assert.Empty(Leftovers());
        await RefusedAsync("kernel-not-found", () => _kernels.FindAsync("mine", None));
    }

    [Fact]
    public async Task A_kernel_is_not_removed_while_a_machine_names_it_or_is_about_to()
    {
        var added = await AddAsync(KernelBytes.Elf("6.9"), "mine");
        await RefusedAsync("kernel-in-use", () => _kernels.RemoveAsync("mine", () => new HashSet<string> { added.Digest }, None));
        using (await _kernels.LeaseAsync(added.Digest, None))
            await RefusedAsync("kernel-in-use", () => _kernels.RemoveAsync("mine", () => Nobody, None));
        using (await _kernels.PrepareAsync(added.Digest, None))
            await RefusedAsync("kernel-in-use", () => _kernels.RemoveAsync("mine", () => Nobody, None));
        await RefusedAsync("kernel-in-use", () => _kernels.RemoveAsync("stock", () => Nobody, None));
        await _kernels.RemoveAsync("mine", () => Nobody, None);
        await RefusedAsync("kernel-not-found", () => _kernels.LeaseAsync(added.Digest, None));
    }

    [Fact]
    public async Task A_pinned_kernel_of_the_host_is_still_there_when_the_host_has_another()
    {
        var pinned = await _kernels.PinAsync("stock", None);
        Assert.Single(await _kernels.ListAsync(None));
        Directory.Delete(Path.Combine(_root, "opt/kernel/6.1.0-9"), recursive: true);
        Write("opt/kernel/6.1.0-10/vmlinuz", KernelBytes.BzImage("6.1.0-10"));
        Reopen();
        using var prepared = await _kernels.PrepareAsync(pinned.Digest, None);
        Assert.Equal(KernelBytes.BzImage("6.1.0-9"), await File.ReadAllBytesAsync(prepared.Boot.KernelPath));
        Assert.Equal(["6.1.0-10", "6.1.0-9"], (await _kernels.ListAsync(None)).Select(kernel => kernel.Name));
    }

    [Fact]
    public async Task What_was_made_for_another_init_is_pruned_unless_something_booted_from_it()
    {
        string first, second;
        using (var prepared = await _kernels.PrepareAsync("", None))
            first = prepared.Boot.InitramfsPath;
        Write("opt/bin/ravel-init", "another init"u8.ToArray());
        using (var prepared = await _kernels.PrepareAsync("", None))
            second = prepared.Boot.InitramfsPath;
        Write("opt/bin/ravel-init", "a third init"u8.ToArray());
        Reopen();
        await _kernels.PruneAsync(new HashSet<string> { second }, None);
        using var third = await _kernels.PrepareAsync("", None);
        Assert.Equal(
            new[] { second, third.Boot.InitramfsPath }.Order(StringComparer.Ordinal),
            Directory.EnumerateFiles(Path.Combine(Data, "boot")).Order(StringComparer.Ordinal));
        Assert.NotEqual(first, second);
    }

    [Fact]
    public async Task What_a_kill_left_in_the_store_is_cleared_away_and_damage_hides_one_kernel_only()
    {
        var added = await AddAsync(KernelBytes.Elf("6.9"), "mine");
        await AddAsync(KernelBytes.Elf("6.8"), "other");
        Write("data/kernels/.new-1/vmlinux", "half"u8.ToArray());
        Write("data/kernels/.gone-1/vmlinux", "going"u8.ToArray());
        Write($"data/kernels/{added.Digest[7..]}/kernel.json", "{"u8.ToArray());
        Reopen();
        Assert.Empty(Leftovers());
        Assert.Equal(["6.1.0-9", "other"], (await _kernels.ListAsync(None)).Select(kernel => kernel.Name));
        Assert.Equal(added.Digest, (await AddAsync(KernelBytes.Elf("6.9"), "mine")).Digest);
        Assert.Empty(Leftovers());
    }

    [Fact]
    public async Task A_broken_kernel_of_the_host_hides_only_itself_and_whoever_means_it_is_told()
    {
        var added = await AddAsync(KernelBytes.Elf("6.9"), "mine");
        Write("opt/kernel/6.1.0-9/vmlinuz", "no kernel"u8.ToArray());
        Assert.Equal(added, Assert.Single(await _kernels.ListAsync(None)));
        var error = await Assert.ThrowsAsync<KernelException>(() => _kernels.FindAsync("stock", None));
        Assert.Equal("kernel-not-found", error.Code);
        Assert.Contains("6.1.0-9/vmlinuz is no kernel", error.Message, StringComparison.Ordinal);
        Assert.Contains("vmlinuz is no kernel", (await Assert.ThrowsAsync<VmmException>(() => _kernels.PrepareAsync("", None))).Message, StringComparison.Ordinal);
        Assert.True((await _kernels.SetDefaultAsync("mine", None)).IsDefault);
        using var prepared = await _kernels.PrepareAsync("", None);
        Assert.Equal(added.Digest, prepared.Digest);
    }

    [Theory]
    [InlineData('x', "02000000000")]
    [InlineData('L', "02000000000")]
    [InlineData('g', "77777777777")]
    public async Task A_header_of_a_tar_is_not_read_whole_when_it_is_larger_than_any_has_to_be(char type, string octalLength)
    {
        var header = new byte[512];
        "vmlinux"u8.CopyTo(header);
        "0000644\0"u8.CopyTo(header.AsSpan(100));
        System.Text.Encoding.ASCII.GetBytes(octalLength).CopyTo(header, 124);
        "00000000000\0        "u8.CopyTo(header.AsSpan(136));
        header[156] = (byte)type;
        (type is 'L' ? "ustar  \0"u8 : "ustar\000"u8).CopyTo(header.AsSpan(257));
        System.Text.Encoding.ASCII.GetBytes($"{Convert.ToString(header.Sum(value => value), 8).PadLeft(6, '0')}\0").CopyTo(header, 148);
        var taken = 0;
        await RefusedAsync("kernel-invalid", () => _kernels.AddAsync(Endless(), null, None));
        Assert.InRange(taken, 0, 4 << 20);

        async IAsyncEnumerable<ReadOnlyMemory<byte>> Endless()
        {
            yield return header;
            for (; taken < 64 << 20; taken += 1 << 16)
            {
                await Task.Yield();
                yield return new byte[1 << 16];
            }
        }
    }

    private static async Task RefusedAsync(string code, Func<Task> act) =>
        Assert.Equal(code, (await Assert.ThrowsAsync<KernelException>(act)).Code);

    private Task<InstalledKernel> AddAsync(byte[] content, string? name = null) => _kernels.AddAsync(Chunks(content), name, None);

    /// <summary>In pieces that end nowhere in particular.</summary>
    private static async IAsyncEnumerable<ReadOnlyMemory<byte>> Chunks(byte[] content, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        foreach (var chunk in content.Chunk(333))
        {
            await Task.Yield();
            yield return chunk;
        }
    }

    private static byte[] Tar(params (string Name, byte[] Content)[] files)
    {
        using var archive = new MemoryStream();
        using (var tar = new TarWriter(archive, leaveOpen: true))
        {
            foreach (var (name, content) in files)
                tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(content) });
        }
        return archive.ToArray();
    }

    private IEnumerable<string> Leftovers() =>
        Directory.EnumerateDirectories(Path.Combine(Data, "kernels")).Where(path => Path.GetFileName(path).StartsWith('.'));

    private void Write(string path, byte[] content)
    {
        path = Path.Combine(_root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, content);
    }

    private GuestKernels Open() => new(
        new KernelCatalog(executableDirectory: Path.Combine(_root, "opt/bin"), root: _root), Data, Path.Combine(_root, "opt/bin/ravel-init"), TimeProvider.System);

    private void Reopen()
    {
        _kernels.Dispose();
        _kernels = Open();
    }
}
