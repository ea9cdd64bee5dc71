using System.Text;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>The writer's own corners: sizes around a block, packing, large directories, the same bytes every time.</summary>
public sealed class ErofsWriterTests
{
    [Theory]
    [InlineData(TestRootfs.BuildTime)]
    [InlineData(5)]
    public void Files_of_every_size_around_a_block_keep_their_bytes(long time)
    {
        int[] sizes = [0, 1, 31, 32, 4000, 4031, 4032, 4033, 4063, 4064, 4065, 4095, 4096, 4097, 8191, 8192, 8193, 1_048_575, 1_048_576, 1_048_577, 3_000_000];
        var layer = new TarBuilder();
        foreach (var size in sizes)
            layer.File($"f{size}", Pattern(size), time: time);
        var tree = TestRootfs.Merge(layer.ToArray());
        foreach (var size in sizes)
        {
            Assert.Equal(Pattern(size), tree[$"/f{size}"].Text);
            Assert.Equal(time, tree[$"/f{size}"].Seconds);
        }
    }

    [Fact]
    public void Symbolic_links_of_every_length_keep_their_targets()
    {
        var layer = new TarBuilder();
        foreach (var length in (int[])[1, 60, 99, 4000, 4031, 4032, 4064, 4095])
            layer.Pax(("linkpath", Pattern(length))).SymbolicLink($"s{length}", "x");
        Assert.All(TestRootfs.Merge(layer.ToArray()).Where(pair => pair.Key != "/"), pair => Assert.Equal(pair.Key[2..], $"{pair.Value.Content.Length}"));
    }

    [Fact]
    public void A_hundred_thousand_names_in_one_directory_stay_in_order()
    {
        // No inode may have that many names, so they take turns.
        var turns = new TarBuilder().Directory("d").File("seed0").File("seed1");
        for (var i = 0; i < 100_000; i++)
            turns.HardLink($"d/{i * 7919L % 100_003:d6}", $"seed{i % 2}");
        Assert.Equal(100_004, TestRootfs.Merge(turns.ToArray()).Count);
    }

    [Fact]
    public void A_directory_of_many_directories_counts_them()
    {
        var layer = new TarBuilder().Directory("d", time: TestRootfs.BuildTime);
        for (var i = 0; i < 70_000; i++)
            layer.Directory($"d/{i}", time: TestRootfs.BuildTime);
        Assert.Equal(70_002u, TestRootfs.Merge(layer.ToArray())["/d"].Links);
    }

    [Fact]
    public void Directories_are_in_the_order_of_their_bytes_not_of_any_language()
    {
        string[] names = ["a", "B", "_", "~", "-", ".x", "a.b", "a-b", "ab", "é", "ÿ", "A", "..."];
        var layer = new TarBuilder();
        foreach (var name in names)
            layer.File(name);
        Assert.Equal(names.Length + 1, TestRootfs.Merge(layer.ToArray()).Count);
    }

    [Fact]
    public void Directories_around_a_block_keep_all_of_their_names()
    {
        for (var names = 14; names < 20; names++)
        {
            for (var length = 239; length <= 255; length += 4)
            {
                var layer = new TarBuilder().Directory("d");
                for (var i = 0; i < names; i++)
                    layer.Pax(("path", $"d/{i:d2}".PadRight(length + 2, 'n'))).File("f");
                Assert.Equal(names + 2, TestRootfs.Merge(layer.ToArray()).Count);
            }
        }
    }

    [Fact]
    public void The_same_layers_give_the_same_bytes()
    {
        byte[][] layers = [new TarBuilder().File("b", Pattern(5000)).File("a", "x").Directory("d").ToArray(), new TarBuilder().File("b").File("d/c").ToArray()];
        Assert.Equal(TestRootfs.Build(layers), TestRootfs.Build(layers));
    }

    [Fact]
    public void Small_files_share_blocks()
    {
        var layer = new TarBuilder();
        for (var i = 0; i < 1000; i++)
            layer.File($"f{i}", "0123456789");
        // 1000 × (64 + 10 bytes, in slots of 32) and one directory.
        Assert.InRange(TestRootfs.Build(layer.ToArray()).Length, 96_000, 150_000);
    }

    [Fact]
    public void Compact_inodes_hold_what_fits_them_and_no_more()
    {
        var tree = TestRootfs.Merge(new TarBuilder()
            .Entry('0', "small"u8.ToArray(), time: TestRootfs.BuildTime, uid: 65535, gid: 65535)
            .Entry('0', "large"u8.ToArray(), time: TestRootfs.BuildTime, uid: 65536, gid: 65536)
            .ToArray());
        Assert.Equal((65535u, 65535u), (tree["/small"].UserId, tree["/small"].GroupId));
        Assert.Equal((65536u, 65536u), (tree["/large"].UserId, tree["/large"].GroupId));
    }

    private static string Pattern(int length)
    {
        var text = new StringBuilder(length + 16);
        for (var i = 0; text.Length < length; i++)
            text.Append(i).Append('.');
        return text.ToString(0, length);
    }
}
