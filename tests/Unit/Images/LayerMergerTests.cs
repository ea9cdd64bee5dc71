using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>Layers on layers (OCI image specification, layer.md).</summary>
public sealed class LayerMergerTests
{
    [Fact]
    public void A_later_layer_replaces_a_file_and_its_old_bytes_are_gone()
    {
        var secret = new string('s', 10_000);
        var image = TestRootfs.Build(
            new TarBuilder().File("a", secret).File("small", "the old tail").ToArray(),
            new TarBuilder().File("a", "new").File("small", "x").ToArray());

        Assert.Equal("new", new ErofsReader(image).ReadAll()["/a"].Text);
        Assert.Equal(-1, image.AsSpan().IndexOf("ssss"u8));
        Assert.Equal(-1, image.AsSpan().IndexOf("the old tail"u8));
    }

    [Fact]
    public void A_whiteout_hides_what_earlier_layers_put_there()
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().Directory("d").File("d/a").File("d/b").ToArray(),
            new TarBuilder().Whiteout("d/.wh.a").ToArray());
        Assert.Equal(["/", "/d", "/d/b"], tree.Keys);
    }

    [Fact]
    public void A_whiteout_of_a_directory_hides_all_below_it()
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().Directory("d").Directory("d/e").File("d/e/f").ToArray(),
            new TarBuilder().Whiteout(".wh.d").ToArray());
        Assert.Equal(["/"], tree.Keys);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_whiteout_spares_its_own_layer_in_any_order(bool whiteoutFirst)
    {
        var upper = whiteoutFirst
            ? new TarBuilder().Whiteout(".wh.d").Directory("d").File("d/new")
            : new TarBuilder().Directory("d").File("d/new").Whiteout(".wh.d");
        var tree = TestRootfs.Merge(new TarBuilder().Directory("d").File("d/old").ToArray(), upper.ToArray());
        Assert.Equal(["/", "/d", "/d/new"], tree.Keys);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_opaque_directory_keeps_only_its_own_layers_content(bool opaqueFirst)
    {
        var upper = opaqueFirst
            ? new TarBuilder().Directory("d").Whiteout("d/.wh..wh..opq").File("d/new")
            : new TarBuilder().Directory("d").File("d/new").Whiteout("d/.wh..wh..opq");
        var tree = TestRootfs.Merge(
            new TarBuilder().Directory("d").Directory("d/sub").File("d/sub/old").File("d/old").ToArray(), upper.ToArray());
        Assert.Equal(["/", "/d", "/d/new"], tree.Keys);
    }

    [Fact]
    public void A_directory_listed_again_keeps_its_content_and_takes_the_new_attributes()
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().Directory("d", mode: 0x1ff, time: 1).File("d/a").ToArray(),
            new TarBuilder().Directory("d", mode: 0x1c0, time: 2).ToArray());
        Assert.Equal(["/", "/d", "/d/a"], tree.Keys);
        Assert.Equal(0x41c0, tree["/d"].Mode);
        Assert.Equal(2, tree["/d"].Seconds);
    }

    [Fact]
    public void A_file_replaces_a_directory_with_all_below_it_and_the_other_way_round()
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().Directory("d").File("d/a").File("f", "x").ToArray(),
            new TarBuilder().File("d", "now a file").Directory("f").ToArray());
        Assert.Equal(["/", "/d", "/f"], tree.Keys);
        Assert.Equal("now a file", tree["/d"].Text);
        Assert.Equal(0x4000, tree["/f"].Mode & 0xf000);
    }

    [Fact]
    public void Hard_links_share_an_inode_across_layers_and_are_counted()
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().File("a", "shared").ToArray(),
            new TarBuilder().HardLink("b", "a").HardLink("c", "/b").ToArray());
        Assert.Equal(3u, tree["/a"].Links);
        Assert.Equal(tree["/a"].Number, tree["/c"].Number);
    }

    [Fact]
    public void A_replaced_name_of_a_hard_link_leaves_the_others_alone()
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().File("a", "shared").HardLink("b", "a").HardLink("c", "a").ToArray(),
            new TarBuilder().File("a", "own").Whiteout(".wh.c").ToArray());
        Assert.Equal("own", tree["/a"].Text);
        Assert.Equal("shared", tree["/b"].Text);
        Assert.Equal(1u, tree["/b"].Links);
        Assert.Equal(["/", "/a", "/b"], tree.Keys);
    }

    [Fact]
    public void A_hard_link_to_a_symbolic_link_is_that_link()
    {
        var tree = TestRootfs.Merge(new TarBuilder().SymbolicLink("s", "nowhere").HardLink("t", "s").ToArray());
        Assert.Equal("nowhere", tree["/t"].Text);
        Assert.Equal(2u, tree["/s"].Links);
    }

    [Fact]
    public void A_path_through_a_symbolic_link_lands_where_the_link_leads()
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().Directory("usr").Directory("usr/lib").SymbolicLink("lib", "usr/lib").ToArray(),
            new TarBuilder().File("lib/x", "in usr").ToArray());
        Assert.Equal("in usr", tree["/usr/lib/x"].Text);
        Assert.Equal(0xa000, tree["/lib"].Mode & 0xf000);
    }

    [Fact]
    public void A_whiteout_through_a_symbolic_link_hides_where_the_link_leads()
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().Directory("real").File("real/x").SymbolicLink("s", "/real").ToArray(),
            new TarBuilder().Whiteout("s/.wh.x").ToArray());
        Assert.Equal(["/", "/real", "/s"], tree.Keys);
    }

    [Fact]
    public void A_directory_entry_replaces_a_symbolic_link_to_a_directory()
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().Directory("real").File("real/x").SymbolicLink("s", "real").ToArray(),
            new TarBuilder().Directory("s").File("s/y").ToArray());
        Assert.Equal(["/", "/real", "/real/x", "/s", "/s/y"], tree.Keys);
    }

    [Fact]
    public void Parents_nobody_described_are_made()
    {
        var tree = TestRootfs.Merge(new TarBuilder().File("a/b/c").ToArray());
        Assert.Equal(["/", "/a", "/a/b", "/a/b/c"], tree.Keys);
        Assert.Equal(0x41ed, tree["/a"].Mode);
        Assert.Equal(0, tree["/a"].Seconds);
    }

    [Fact]
    public void A_name_that_comes_twice_in_a_layer_counts_as_the_last()
    {
        var tree = TestRootfs.Merge(new TarBuilder().File("a", "first").File("a", "second").ToArray());
        Assert.Equal("second", tree["/a"].Text);
    }

    [Fact]
    public void The_root_takes_the_attributes_a_layer_states()
    {
        var tree = TestRootfs.Merge(new TarBuilder().Directory("./", mode: 0x1c9, time: 77).ToArray());
        Assert.Equal((ushort)0x41c9, tree["/"].Mode);
        Assert.Equal(77, tree["/"].Seconds);
    }

    [Fact]
    public void Devices_and_fifos_keep_their_numbers()
    {
        var tree = TestRootfs.Merge(new TarBuilder()
            .Entry('3', "null"u8.ToArray(), major: 1, minor: 3)
            .Entry('4', "disk"u8.ToArray(), major: 259, minor: 70_000)
            .Entry('6', "pipe"u8.ToArray())
            .ToArray());
        Assert.Equal((0x2000, 0x103u), (tree["/null"].Mode & 0xf000, tree["/null"].Device));
        Assert.Equal((0x6000, (70_000u & 0xff) | (259u << 8) | ((70_000u & ~0xffu) << 12)), (tree["/disk"].Mode & 0xf000, tree["/disk"].Device));
        Assert.Equal(0x1000, tree["/pipe"].Mode & 0xf000);
    }

    [Fact]
    public void Extended_attributes_are_kept_but_those_that_steer_an_overlay()
    {
        var tree = TestRootfs.Merge(new TarBuilder()
            .Pax(
                ("SCHILY.xattr.security.capability", "\u0001\u0000\u0000\u0002bytes"), ("SCHILY.xattr.user.note", "hi"),
                ("SCHILY.xattr.trusted.overlay.opaque", "y"), ("SCHILY.xattr.security.selinux", "label"), ("SCHILY.xattr.weird", "x"))
            .File("f", "content")
            .ToArray());
        Assert.Equal(["security.capability", "user.note"], tree["/f"].Xattrs.Keys);
        Assert.Equal("\u0001\u0000\u0000\u0002bytes", tree["/f"].Xattrs["security.capability"]);
        Assert.Equal("content", tree["/f"].Text);
    }
}
