using System.Text;
using Ravel.Images;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>Archives as tools in the wild write them.</summary>
public sealed class TarReaderTests
{
    [Fact]
    public void Gnu_long_names_and_link_targets_are_read()
    {
        var name = new string('n', 250);
        var target = string.Join('/', Enumerable.Repeat(new string('t', 200), 5));
        var tree = TestRootfs.Merge(new TarBuilder()
            .Entry('L', "././@LongLink"u8.ToArray(), content: [.. TarBuilder.Latin1(name), 0])
            .File("short", "a")
            .Entry('L', "././@LongLink"u8.ToArray(), content: [.. TarBuilder.Latin1(name + "2"), 0])
            .Entry('K', "././@LongLink"u8.ToArray(), content: [.. TarBuilder.Latin1(target), 0])
            .SymbolicLink("short", "short")
            .ToArray());
        Assert.Equal("a", tree["/" + name].Text);
        Assert.Equal(target, tree["/" + name + "2"].Text);
    }

    [Fact]
    public void Pax_names_times_owners_and_links_win_over_the_header()
    {
        var tree = TestRootfs.Merge(new TarBuilder()
            .Pax(("path", "dir/näme\u00ff"), ("mtime", "1350244992.023960108"), ("uid", "3000000000"), ("gid", "70000"))
            .File("short", "a")
            .Pax(("linkpath", "far/away"))
            .SymbolicLink("l", "near")
            .Pax(("mtime", "-1.5"))
            .File("old")
            .ToArray());
        var node = tree["/dir/näme\u00ff"];
        Assert.Equal((1350244992, 23960108u, 3000000000u, 70000u), (node.Seconds, node.Nanoseconds, node.UserId, node.GroupId));
        Assert.Equal("far/away", tree["/l"].Text);
        Assert.Equal((-2, 500_000_000u), (tree["/old"].Seconds, tree["/old"].Nanoseconds));
    }

    [Fact]
    public void A_pax_size_wins_over_the_header()
    {
        // As for files of 8 GiB and more, whose size the header cannot hold.
        var tree = TestRootfs.Merge(new TarBuilder().Pax(("size", "5")).Entry('0', "f"u8.ToArray(), content: "hello"u8.ToArray(), size: 0).File("g").ToArray());
        Assert.Equal("hello", tree["/f"].Text);
        Assert.Contains("/g", tree.Keys);
    }

    [Fact]
    public void Binary_numbers_of_gnu_tar_are_read()
    {
        var archive = new TarBuilder().File("f").ToArray();
        // mtime −1 as base-256.
        archive.AsSpan(136, 12).Fill(0xff);
        var header = archive[..512];
        TarBuilder.Seal(header);
        header.CopyTo(archive, 0);
        Assert.Equal(-1, TestRootfs.Merge(archive)["/f"].Seconds);
    }

    [Fact]
    public void The_ustar_prefix_is_part_of_the_name()
    {
        var archive = new TarBuilder().File("name").ToArray();
        "some/prefix"u8.CopyTo(archive.AsSpan(345));
        Reseal(archive);
        Assert.Contains("/some/prefix/name", TestRootfs.Merge(archive).Keys);
    }

    [Fact]
    public void Names_are_bytes_and_need_not_be_text()
    {
        var name = new byte[] { 0xff, 0xfe, (byte)'x', 0x80 };
        var tree = TestRootfs.Merge(new TarBuilder().Entry('0', name).ToArray());
        Assert.Contains("/" + Encoding.Latin1.GetString(name), tree.Keys);
    }

    [Fact]
    public void Global_headers_are_passed_over()
    {
        var tree = TestRootfs.Merge(new TarBuilder()
            .Entry('g', "pax_global_header"u8.ToArray(), content: TarBuilder.PaxRecord("comment"u8.ToArray(), "abc"u8.ToArray()))
            .File("f")
            .ToArray());
        Assert.Equal(["/", "/f"], tree.Keys);
    }

    [Fact]
    public void Before_ustar_a_slash_told_a_directory()
    {
        Assert.Equal(0x4000, TestRootfs.Merge(new TarBuilder().Entry('\0', "d/"u8.ToArray()).ToArray())["/d"].Mode & 0xf000);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(512)]
    public void An_archive_may_lack_its_end_blocks(int zeros)
    {
        byte[] archive = [.. new TarBuilder().File("f", "x").WithoutEnd(), .. new byte[zeros]];
        Assert.Equal("x", TestRootfs.Merge(archive)["/f"].Text);
    }

    [Fact]
    public void The_last_entry_may_lack_its_padding()
    {
        Assert.Equal("xyz", TestRootfs.Merge(new TarBuilder().File("f", "xyz").WithoutEnd()[..515])["/f"].Text);
    }

    [Fact]
    public void Sparse_files_of_gnu_tar_are_filled_with_zeros()
    {
        // Real size 20,000: data at 0 (3 bytes) and 10,000 (4 bytes).
        var archive = new TarBuilder().Entry('S', "s"u8.ToArray(), content: "abcdefg"u8.ToArray()).ToArray();
        WriteOctal(archive, 386, 0);
        WriteOctal(archive, 398, 3);
        WriteOctal(archive, 410, 10_000);
        WriteOctal(archive, 422, 4);
        WriteOctal(archive, 483, 20_000);
        "ustar  \0"u8.CopyTo(archive.AsSpan(257));
        Reseal(archive);
        AssertSparse(TestRootfs.Merge(archive)["/s"]);
    }

    [Fact]
    public void Sparse_files_of_pax_0_0_are_filled_with_zeros() => AssertSparse(TestRootfs.Merge(new TarBuilder()
        .Pax(
            ("GNU.sparse.size", "20000"), ("GNU.sparse.numblocks", "2"), ("GNU.sparse.offset", "0"), ("GNU.sparse.numbytes", "3"),
            ("GNU.sparse.offset", "10000"), ("GNU.sparse.numbytes", "4"))
        .File("s", "abcdefg").ToArray())["/s"]);

    [Fact]
    public void Sparse_files_of_pax_0_1_are_filled_with_zeros() => AssertSparse(TestRootfs.Merge(new TarBuilder()
        .Pax(("GNU.sparse.size", "20000"), ("GNU.sparse.name", "s"), ("GNU.sparse.map", "0,3,10000,4"))
        .File("GNUSparseFile.1/s", "abcdefg").ToArray())["/s"]);

    [Fact]
    public void Sparse_files_of_pax_1_0_are_filled_with_zeros() => AssertSparse(TestRootfs.Merge(new TarBuilder()
        .Pax(("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "s"), ("GNU.sparse.realsize", "20000"))
        .File("GNUSparseFile.1/s", "2\n0\n3\n10000\n4\n".PadRight(512, '\0') + "abcdefg").File("after", "x").ToArray())["/s"]);

    [Fact]
    public void Cutting_an_archive_anywhere_gives_a_typed_error_or_whole_entries()
    {
        var archive = new TarBuilder()
            .Pax(("path", "long")).File("a", new string('a', 3000)).Directory("d").HardLink("h", "long").File("b", "bytes").ToArray();
        for (var length = 0; length < archive.Length; length += 64)
        {
            try
            {
                foreach (var (path, node) in TestRootfs.Merge(archive[..length]))
                    Assert.True(path is not ("/long" or "/h") || node.Content.Length == 3000);
            }
            catch (ImageException e)
            {
                Assert.Equal("image-invalid", e.Code);
            }
        }
    }

    private static void AssertSparse(ErofsNode node)
    {
        var expected = new byte[20_000];
        "abc"u8.CopyTo(expected);
        "defg"u8.CopyTo(expected.AsSpan(10_000));
        Assert.Equal(expected, node.Content);
    }

    private static void WriteOctal(byte[] archive, int offset, long value) =>
        TarBuilder.Latin1(Convert.ToString(value, 8).PadLeft(11, '0') + "\0").CopyTo(archive, offset);

    private static void Reseal(byte[] archive)
    {
        var header = archive[..512];
        TarBuilder.Seal(header);
        header.CopyTo(archive, 0);
    }
}
