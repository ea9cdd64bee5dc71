using System.Buffers.Binary;
using System.Formats.Tar;
using System.Text;
using Ravel.Images;
using Ravel.Images.Archives;
using Ravel.Images.Erofs;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>Images as archives again, and what comes of importing those.</summary>
public sealed class ImageExportTests : IDisposable
{
    private const string Config = """
        {"created":"2024-05-06T07:08:09Z","architecture":"amd64","os":"linux","config":{"Entrypoint":["/bin/app"],"Cmd":["serve","-v"],"Env":["PATH=/bin","X=\"1\""],
        "User":"1000:1000","WorkingDir":"/srv","StopSignal":"SIGQUIT","ExposedPorts":{"80/tcp":{},"443/udp":{} },"Volumes":{"/data":{} },"Labels":{"b":"2","a":"1"} },"rootfs":{"type":"layers","diff_ids":[
        """;

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-export-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData(ExportFormat.OciArchive)]
    [InlineData(ExportFormat.DockerArchive)]
    public async Task The_import_of_an_export_has_the_same_tree_and_configuration(ExportFormat format)
    {
        using var store = await OpenAsync("a");
        var image = await ImportAsync(store);
        var archive = await ExportAsync(image, "team/app:1", format);
        File.WriteAllBytes(Path.Combine(_directory, "out.tar"), archive);

        using var other = await OpenAsync("b");
        var again = await other.ImportAsync(Path.Combine(_directory, "out.tar"), null, Cancellation);

        Assert.Equal(["docker.io/team/app:1"], again.References);
        Assert.Equivalent(image.Config, again.Config);
        Assert.Equal(Tree(image), Tree(again));
        // And once more it is the same archive: nothing is lost on the way.
        Assert.Equal(archive, await ExportAsync(again, "team/app:1", format));
    }

    [Theory]
    [InlineData(ExportFormat.OciArchive)]
    [InlineData(ExportFormat.DockerArchive)]
    public async Task The_same_image_gives_the_same_bytes_of_the_length_announced(ExportFormat format)
    {
        using var store = await OpenAsync("a");
        var image = await ImportAsync(store);
        var first = await ExportAsync(image, "team/app:1", format);
        Assert.Equal(first, await ExportAsync(image, "team/app:1", format));
        using var export = await ImageExport.OpenAsync(image, null, format, Cancellation);
        using var unnamed = new MemoryStream();
        await export.WriteAsync(unnamed, Cancellation);
        Assert.Equal(export.Length, unnamed.Length);
        Assert.DoesNotContain("team/app", Encoding.Latin1.GetString(unnamed.ToArray()));
    }

    [Fact]
    public async Task Another_reader_of_tar_sees_every_kind_of_entry()
    {
        using var store = await OpenAsync("a");
        var image = await ImportAsync(store);
        var layer = new MemoryStream();
        using (var rootfs = ErofsImage.Open(image.RootfsPath))
            await RootfsTar.WriteAsync(rootfs, layer, Cancellation);
        layer.Position = 0;
        var entries = new Dictionary<string, TarEntry>();
        await using var reader = new System.Formats.Tar.TarReader(layer);
        while (await reader.GetNextEntryAsync(copyData: true, Cancellation) is { } entry)
            entries.Add(entry.Name, entry);

        Assert.Equal(TarEntryType.Directory, entries["./"].EntryType);
        Assert.Equal(TarEntryType.Directory, entries["srv/"].EntryType);
        Assert.Equal((TarEntryType.RegularFile, 10_000L), (entries["srv/big"].EntryType, entries["srv/big"].Length));
        Assert.Equal((TarEntryType.HardLink, "srv/big"), (entries["srv/twin"].EntryType, entries["srv/twin"].LinkName));
        Assert.Equal((TarEntryType.SymbolicLink, "../srv/big"), (entries["tmp/link"].EntryType, entries["tmp/link"].LinkName));
        var device = Assert.IsAssignableFrom<PosixTarEntry>(entries["dev"]);
        Assert.Equal((TarEntryType.CharacterDevice, 300, 70_000), (device.EntryType, device.DeviceMajor, device.DeviceMinor));
        var far = entries[new string('d', 200) + "/" + new string('f', 255)];
        Assert.Equal((4_000_000, 3_000_000), (far.Uid, far.Gid));
        Assert.Equal(DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_250), far.ModificationTime);
        Assert.Equal("value=1", ((PaxTarEntry)far).ExtendedAttributes["SCHILY.xattr.user.note"]);
    }

    [Theory]
    [InlineData(-1L, 500_000_000u, "-0.5")]
    [InlineData(-2L, 999_999_999u, "-1.000000001")]
    [InlineData(0L, 1u, "0.000000001")]
    [InlineData(-5L, 0u, "-5")]
    [InlineData(1L << 40, 0u, "1099511627776")]
    public async Task Times_come_back_as_they_were(long seconds, uint nanoseconds, string written)
    {
        var archive = new TarBuilder().Pax(("mtime", written)).File("a").ToArray();
        var path = Path.Combine(_directory, "a.erofs");
        File.WriteAllBytes(path, TestRootfs.Build(archive));
        using var layer = new MemoryStream();
        using (var rootfs = ErofsImage.Open(path))
            await RootfsTar.WriteAsync(rootfs, layer, Cancellation);
        Assert.Contains($" mtime={written}\n", Encoding.Latin1.GetString(layer.ToArray()));
        var node = TestRootfs.Merge(layer.ToArray())["/a"];
        Assert.Equal((seconds, nanoseconds), (node.Seconds, node.Nanoseconds));
    }

    [Fact]
    public async Task Attributes_whose_names_have_an_equals_sign_come_back()
    {
        var archive = new TarBuilder().Pax(("LIBARCHIVE.xattr.user.a%3Db%25", "Yz1k")).File("a").ToArray();
        var path = Path.Combine(_directory, "a.erofs");
        File.WriteAllBytes(path, TestRootfs.Build(archive));
        using var layer = new MemoryStream();
        using (var rootfs = ErofsImage.Open(path))
            await RootfsTar.WriteAsync(rootfs, layer, Cancellation);
        var before = string.Join(',', TestRootfs.Merge(archive)["/a"].Xattrs);
        Assert.Contains("user.a=b%", before, StringComparison.Ordinal);
        Assert.Equal(before, string.Join(',', TestRootfs.Merge(layer.ToArray())["/a"].Xattrs));
    }

    [Fact]
    public async Task A_root_file_system_damaged_at_random_is_refused_as_image_damaged_or_read_to_its_end()
    {
        using var store = await OpenAsync("a");
        var image = await ImportAsync(store);
        var good = File.ReadAllBytes(image.RootfsPath);
        var random = new Random(7);
        var refused = 0;
        for (var round = 0; round < 2000; round++)
        {
            var bad = (byte[])good.Clone();
            for (var i = 0; i < 8; i++)
                bad[random.Next(bad.Length)] = (byte)random.Next(256);
            if (await IsRefusedAsync(bad))
                refused++;
        }
        // Most bytes are of contents, names and times, where another is as good. How many are not follows from the seed.
        Assert.InRange(refused, 98, 2000);
        Assert.Equal("image-damaged", (await Assert.ThrowsAsync<ImageException>(
            () => ImageExport.OpenAsync(image with { RootfsPath = "/no/such/file" }, null, ExportFormat.OciArchive, Cancellation))).Code);
    }

    [Fact]
    public async Task Damage_to_what_leads_through_a_root_file_system_is_refused()
    {
        using var store = await OpenAsync("a");
        var good = File.ReadAllBytes((await ImportAsync(store)).RootfsPath);
        Assert.False(await IsRefusedAsync(good));
        const int Superblock = 1024;
        var nodes = new ErofsReader(good).ReadAll();
        var big = (int)nodes["/srv/big"].Number * 32;
        // The directory's content: 12 bytes for each of ".", "..", "big" and the others, then their names.
        var srv = good.AsSpan().IndexOf(nodes["/srv"].Content);
        var entry = srv + (2 * 12);
        var name = srv + BinaryPrimitives.ReadUInt16LittleEndian(good.AsSpan(entry + 8));
        Assert.Equal("big"u8, good.AsSpan(name, 3));
        var damages = new Dictionary<string, Action<byte[]>>
        {
            ["magic"] = image => image[Superblock] ^= 1,
            ["block size"] = image => image[Superblock + 12]++,
            ["root that is no inode"] = image => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(Superblock + 14), 0),
            ["root that is a file"] = image => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(Superblock + 14), (ushort)nodes["/srv/big"].Number),
            ["root outside"] = image => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(Superblock + 14), ushort.MaxValue),
            ["inode's layout"] = image => image[big] = (byte)((image[big] & 1) | (1 << 1)),
            ["inode's attributes"] = image => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(big + 2), ushort.MaxValue),
            ["inode's type"] = image => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(big + 4), 0),
            ["inode's size"] = image => image[big + 11] = 0x7f,
            ["inode's first block"] = image => BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(big + 16), uint.MaxValue),
            ["entry's inode outside"] = image => BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(entry), ulong.MaxValue),
            ["entry's inode none"] = image => BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(entry), 0),
            ["entry's inode a circle"] = image => BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(entry), nodes["/srv"].Number),
            ["entry's name outside"] = image => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(entry + 8), ushort.MaxValue),
            ["first name outside"] = image => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(srv + 8), ushort.MaxValue),
            ["slash in a name"] = image => image[name + 1] = (byte)'/',
            ["empty name"] = image => image.AsSpan(name, 3).Clear(),
        };
        var taken = new List<string>();
        foreach (var (what, damage) in damages)
        {
            var bad = (byte[])good.Clone();
            damage(bad);
            if (!await IsRefusedAsync(bad))
                taken.Add(what);
        }
        if (!await IsRefusedAsync(good[..4096]))
            taken.Add("an end after the first block");
        Assert.Empty(taken);
    }

    /// <summary>Whether it is refused as damaged; if not, it was read to its end, and nothing else may come of it.</summary>
    private async Task<bool> IsRefusedAsync(byte[] image)
    {
        var path = Path.Combine(_directory, "damaged.erofs");
        File.WriteAllBytes(path, image);
        try
        {
            using var rootfs = ErofsImage.Open(path);
            await using var nowhere = new BoundedSink(100_000_000);
            await RootfsTar.WriteAsync(rootfs, nowhere, Cancellation);
            return false;
        }
        catch (ImageException e)
        {
            Assert.Equal("image-damaged", e.Code);
            return true;
        }
    }

    private async Task<ImageStore> OpenAsync(string name) =>
        await ImageStore.OpenAsync(new ImageStoreOptions { DataDirectory = Path.Combine(_directory, name) }, TimeProvider.System, Cancellation);

    private async Task<StoredImage> ImportAsync(ImageStore store)
    {
        var layout = Directory.CreateDirectory(Path.Combine(_directory, "layout")).FullName;
        new LayoutBuilder(layout) { Config = text => Config + text[(text.IndexOf("diff_ids\":[", StringComparison.Ordinal) + 11)..] }
            .Layer(
                new TarBuilder()
                    .Directory("./", mode: 0x1c0, time: 5)
                    .Directory("srv/", mode: 0x3ff)
                    .File("srv/big", new string('x', 10_000), mode: 0x9ed)
                    .File("srv/replaced", "old")
                    .HardLink("srv/twin", "srv/big")
                    .SymbolicLink("tmp/link", "../srv/big")
                    .File("empty")
                    .Entry('0', TarBuilder.Latin1("not \xff\xfe text"), content: "1"u8.ToArray(), uid: 65_536, gid: 1)
                    .Entry('3', TarBuilder.Latin1("dev"), major: 300, minor: 70_000)
                    .Entry('6', TarBuilder.Latin1("pipe"))
                    .Pax(
                        ("path", new string('d', 200) + "/" + new string('f', 255)), ("uid", "4000000"), ("gid", "3000000"),
                        ("mtime", "1700000000.25"), ("SCHILY.xattr.user.note", "value=1"),
                        ("SCHILY.xattr.security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
                    .File("short")
                    .Pax(("linkpath", new string('t', 300)))
                    .SymbolicLink("far", "short")
                    .ToArray())
            .Layer(new TarBuilder().File("srv/replaced", new string('n', 4096 * 3)).Whiteout(".wh.empty").ToArray())
            .Build();
        return await store.ImportAsync(layout, "team/app:1", Cancellation);
    }

    private static async Task<byte[]> ExportAsync(StoredImage image, string name, ExportFormat format)
    {
        using var export = await ImageExport.OpenAsync(image, ImageReference.Parse(name), format, Cancellation);
        using var archive = new MemoryStream();
        await export.WriteAsync(archive, Cancellation);
        return archive.ToArray();
    }

    /// <summary>All that a tree says, without the places of its inodes.</summary>
    private static List<string> Tree(StoredImage image) =>
        [.. new ErofsReader(File.ReadAllBytes(image.RootfsPath)).ReadAll().Select(pair =>
            $"{pair.Key} {pair.Value.Mode} {pair.Value.UserId}:{pair.Value.GroupId} {pair.Value.Seconds}.{pair.Value.Nanoseconds} {pair.Value.Links} {pair.Value.Device} "
            + $"{string.Join(',', pair.Value.Xattrs)} {((pair.Value.Mode & 0xf000) == 0x4000 ? "" : pair.Value.Text)}")];

    /// <summary>Takes so many bytes, and not the terabytes a damaged size announces.</summary>
    private sealed class BoundedSink(long most) : MemoryStream
    {
        private long _length;

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            _length += buffer.Length;
            Assert.InRange(_length, 0, most);
            return ValueTask.CompletedTask;
        }
    }
}
