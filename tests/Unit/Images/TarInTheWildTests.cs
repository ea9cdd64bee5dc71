using System.Buffers.Binary;
using System.Text;
using Ravel.Images;
using Ravel.Images.Layers;
using Ravel.Images.Tar;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>What archives in the wild have and no tool at hand writes on demand; those are in the integration suite's TarDialectTests.</summary>
public sealed class TarInTheWildTests
{
    [Fact]
    public void Libarchive_attributes_are_decoded_from_percent_and_base64()
    {
        var node = TestRootfs.Merge(new TarBuilder()
            .Pax(("LIBARCHIVE.xattr.user.a%3Db%25", "AAEC/w"), ("LIBARCHIVE.xattr.user.padded", "aGk="), ("LIBARCHIVE.xattr.user.empty", ""))
            .File("f").ToArray())["/f"];
        Assert.Equal(
            [("user.a=b%", "\u0000\u0001\u0002\u00ff"), ("user.empty", ""), ("user.padded", "hi")],
            node.Xattrs.Select(pair => (pair.Key, pair.Value)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_attribute_in_both_spellings_is_the_one_others_read_too(bool libarchiveFirst)
    {
        (string, string)[] records = [("LIBARCHIVE.xattr.user.a", "bGliYXJjaGl2ZQ"), ("SCHILY.xattr.user.a", "schily")];
        var node = TestRootfs.Merge(new TarBuilder().Pax(libarchiveFirst ? records : [.. records.Reverse()]).File("f").ToArray())["/f"];
        Assert.Equal("schily", Assert.Single(node.Xattrs).Value);
    }

    [Theory]
    [InlineData("LIBARCHIVE.xattr.user.a", "not base64!")]
    [InlineData("LIBARCHIVE.xattr.user.a", "A")]
    [InlineData("LIBARCHIVE.xattr.", "aGk")]
    [InlineData("LIBARCHIVE.xattr.user.%00", "aGk")]
    [InlineData("SCHILY.devmajor", "-1")]
    [InlineData("SCHILY.devmajor", "4096")]
    [InlineData("SCHILY.devminor", "1048576")]
    public void A_record_that_means_nothing_is_refused(string key, string value)
    {
        var archive = new TarBuilder().Pax((key, value)).Entry('3', "f"u8.ToArray()).ToArray();
        Assert.Equal("image-invalid", Assert.Throws<ImageException>(() => TestRootfs.Merge(archive)).Code);
    }

    [Fact]
    public void Large_device_numbers_come_from_records_where_the_header_is_too_small()
    {
        var tree = TestRootfs.Merge(new TarBuilder()
            .Pax(("SCHILY.devmajor", "4095"), ("SCHILY.devminor", "1048575")).Entry('4', "d"u8.ToArray()).ToArray());
        Assert.Equal(0xfffffu & 0xff | (0xfffu << 8) | ((0xfffffu & ~0xffu) << 12), tree["/d"].Device);
    }

    [Fact]
    public void An_attribute_may_be_empty()
    {
        var node = TestRootfs.Merge(new TarBuilder().Pax(("SCHILY.xattr.user.flag", "")).File("f").ToArray())["/f"];
        Assert.Equal(("user.flag", ""), node.Xattrs.Select(pair => (pair.Key, pair.Value)).Single());
    }

    [Fact]
    public void An_empty_record_leaves_what_the_header_says()
    {
        var tree = TestRootfs.Merge(new TarBuilder().Pax(("path", ""), ("uid", ""), ("mtime", "")).Entry('0', "f"u8.ToArray(), time: 7, uid: 8).ToArray());
        Assert.Equal((7L, 8u), (tree["/f"].Seconds, tree["/f"].UserId));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Files_of_eight_gibibytes_and_more_have_their_size_in_binary_or_in_a_record(bool pax)
    {
        const long Size = 20L << 30;
        var archive = pax
            ? new TarBuilder().Pax(("size", $"{Size}")).Entry('0', "f"u8.ToArray(), size: 0).ToArray()
            : new TarBuilder().File("f").ToArray();
        if (!pax)
        {
            archive.AsSpan(124, 12).Clear();
            archive[124] = 0x80;
            BinaryPrimitives.WriteInt64BigEndian(archive.AsSpan(128), Size);
            var header = archive[..512];
            TarBuilder.Seal(header);
            header.CopyTo(archive, 0);
        }
        var entry = new TarReader(new StreamByteSource(new MemoryStream(archive))).Next();
        Assert.Equal(Size, entry!.Size);
    }

    [Theory]
    [InlineData("-2208988800.000000001", -2208988801, 999_999_999)]
    [InlineData("-0.25", -1, 750_000_000)]
    [InlineData("2147483648.5", 2147483648, 500_000_000)]
    [InlineData("253402300799.999999999", 253402300799, 999_999_999)]
    [InlineData("1.0000000019", 1, 1)]
    public void Times_before_1970_and_after_2038_keep_their_fraction(string time, long seconds, int nanoseconds)
    {
        var node = TestRootfs.Merge(new TarBuilder().Pax(("mtime", time)).File("f").ToArray())["/f"];
        Assert.Equal((seconds, (uint)nanoseconds), (node.Seconds, node.Nanoseconds));
    }

    [Fact]
    public void Names_of_255_bytes_and_paths_of_4096_are_taken_and_longer_ones_refused()
    {
        var path = string.Join('/', Enumerable.Repeat(new string('d', 255), 16)) + "/";
        Assert.Equal(4096, path.Length);
        Assert.Equal(17, TestRootfs.Merge(new TarBuilder().Pax(("path", path)).Directory("d").ToArray()).Count);
        Assert.Throws<ImageException>(() => TestRootfs.Merge(new TarBuilder().Pax(("path", path + "f")).File("f").ToArray()));
        Assert.Throws<ImageException>(() => TestRootfs.Merge(new TarBuilder().Pax(("path", new string('n', 256))).File("f").ToArray()));
    }

    [Fact]
    public void Global_records_name_nothing_as_Go_reads_them()
    {
        var global = TarBuilder.PaxRecord("path"u8.ToArray(), "elsewhere"u8.ToArray());
        var tree = TestRootfs.Merge(new TarBuilder()
            .Entry('g', "global"u8.ToArray(), content: [.. global, .. TarBuilder.PaxRecord("uid"u8.ToArray(), "77"u8.ToArray())])
            .File("f").File("g").ToArray());
        Assert.Equal(["/", "/f", "/g"], tree.Keys);
        Assert.Equal(0u, tree["/f"].UserId);
    }

    [Fact]
    public void What_stands_behind_the_archives_end_is_not_read()
    {
        byte[] archive = [.. new TarBuilder().File("f", "x").ToArray(), .. Encoding.ASCII.GetBytes(new string('g', 5000)), .. new TarBuilder().File("late").ToArray()];
        Assert.Equal(["/", "/f"], TestRootfs.Merge(archive).Keys);
    }

    [Fact]
    public void A_directory_may_come_after_what_is_in_it()
    {
        var tree = TestRootfs.Merge(new TarBuilder()
            .File("d/e/f", "x").Directory("d/e", mode: 0x1c0, time: 5).Directory("d", mode: 0x1c1, time: 6).ToArray());
        Assert.Equal(["/", "/d", "/d/e", "/d/e/f"], tree.Keys);
        Assert.Equal((0x41c1, 6L, 0x41c0, 5L), (tree["/d"].Mode, tree["/d"].Seconds, tree["/d/e"].Mode, tree["/d/e"].Seconds));
    }

    [Fact]
    public void A_name_changes_its_type_from_layer_to_layer()
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().File("a", "file").Directory("b").File("b/x").SymbolicLink("c", "b").Entry('6', "d"u8.ToArray()).ToArray(),
            new TarBuilder().SymbolicLink("a", "b").File("b", "file").Directory("c").File("c/y").Entry('3', "d"u8.ToArray(), major: 1, minor: 3).ToArray(),
            new TarBuilder().Directory("a").Entry('6', "b"u8.ToArray()).HardLink("c", "d").File("d", "file").ToArray());
        Assert.Equal(["/", "/a", "/b", "/c", "/d"], tree.Keys);
        Assert.Equal([0x4000, 0x1000, 0x2000, 0x8000], tree.Where(pair => pair.Key != "/").Select(pair => pair.Value.Mode & 0xf000));
        Assert.Equal(1u, tree["/c"].Links);
    }
}
