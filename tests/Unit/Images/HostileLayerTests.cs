using Ravel.Images;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>Archives made to break out, to exhaust or to confuse. Each is confined or ends in a typed error.</summary>
public sealed class HostileLayerTests
{
    [Theory]
    [InlineData("../../etc/passwd", "/etc/passwd")]
    [InlineData("/../../x", "/x")]
    [InlineData("/etc/passwd", "/etc/passwd")]
    [InlineData("a/../../../b", "/b")]
    [InlineData("././/c/./d", "/c/d")]
    public void Names_that_climb_out_stay_inside(string name, string path) =>
        Assert.Equal("x", TestRootfs.Merge(new TarBuilder().File(name, "x").ToArray())[path].Text);

    [Theory]
    [InlineData("/")]
    [InlineData("/etc")]
    [InlineData("../../../etc")]
    [InlineData("/nowhere/../../etc")]
    public void A_symbolic_link_ancestor_that_leads_outside_leads_to_the_root_instead(string target)
    {
        var tree = TestRootfs.Merge(
            new TarBuilder().Directory("etc").SymbolicLink("out", target).File("out/x", "caught").ToArray());
        Assert.Contains(tree, pair => pair.Key.EndsWith("/x", StringComparison.Ordinal) && pair.Value.Text == "caught");
        Assert.Equal(target, tree["/out"].Text);
    }

    [Fact]
    public void A_dangling_symbolic_link_ancestor_makes_its_target_inside()
    {
        var tree = TestRootfs.Merge(new TarBuilder().SymbolicLink("s", "/not/there").File("s/x").ToArray());
        Assert.Contains("/not/there/x", tree.Keys);
    }

    [Fact]
    public void A_loop_of_symbolic_links_is_refused() =>
        Refused("loop", new TarBuilder().SymbolicLink("a", "b").SymbolicLink("b", "a").File("a/x"));

    [Theory]
    [InlineData("../../../etc/shadow")]
    [InlineData("/etc/shadow")]
    [InlineData("missing")]
    [InlineData("self")]
    [InlineData("")]
    public void A_hard_link_to_what_is_not_in_the_image_is_refused(string target) =>
        Refused("hard link", new TarBuilder().HardLink("self", target));

    [Fact]
    public void A_hard_link_to_a_directory_is_refused() =>
        Refused("directory", new TarBuilder().Directory("d").HardLink("h", "d"));

    [Fact]
    public void An_entry_below_a_file_is_refused() =>
        Refused("not a directory", new TarBuilder().File("f").File("f/x"));

    [Fact]
    public void The_root_cannot_become_something_else()
    {
        Refused("root", new TarBuilder().SymbolicLink("/", "/etc"));
        Refused("root", new TarBuilder().File("."));
        Refused("root", new TarBuilder().File("a/.."));
    }

    [Theory]
    [InlineData(".wh.")]
    [InlineData(".wh..")]
    [InlineData(".wh...")]
    [InlineData("d/.wh...")]
    public void A_whiteout_of_a_directory_itself_or_its_parent_is_refused(string name) =>
        Refused("whiteout", new TarBuilder().Directory("d").Whiteout(name));

    [Theory]
    [InlineData("missing/.wh.x")]
    [InlineData("f/.wh.x")]
    [InlineData(".wh.missing")]
    [InlineData("missing/.wh..wh..opq")]
    [InlineData(".wh..wh.plnk")]
    public void A_whiteout_of_nothing_changes_nothing(string name) =>
        Assert.Equal(["/", "/f"], TestRootfs.Merge(new TarBuilder().File("f").ToArray(), new TarBuilder().Whiteout(name).ToArray()).Keys);

    [Fact]
    public void Lies_about_size_are_refused()
    {
        Refused("end", new TarBuilder().Entry('0', "f"u8.ToArray(), content: "x"u8.ToArray(), size: 1_000_000));
        Refused("bytes", new TarBuilder().Entry('0', "f"u8.ToArray(), size: 8L << 30), new ImageLimits { MaxFileBytes = 1 << 30 });
        Refused("size", new TarBuilder().Pax(("size", "-1")).File("f"));
        Refused("size", new TarBuilder().Pax(("size", "99999999999999999999")).File("f"));
    }

    [Fact]
    public void A_sparse_file_of_many_exabytes_is_refused() =>
        Refused("bytes", new TarBuilder()
            .Pax(("GNU.sparse.size", "900000000000000000"), ("GNU.sparse.map", "0,1")).File("s", "x"));

    [Theory]
    [InlineData("10,5,0,2")]
    [InlineData("0,5,3,4")]
    [InlineData("0,7,100,0,90,0")]
    [InlineData("0,6")]
    [InlineData("0,7,1")]
    [InlineData("-5,7")]
    [InlineData("99,7")]
    public void A_sparse_map_that_does_not_fit_is_refused(string map) =>
        Refused("sparse map", new TarBuilder().Pax(("GNU.sparse.size", "100"), ("GNU.sparse.map", map)).File("s", "abcdefg"));

    [Fact]
    public void Too_many_entries_are_refused()
    {
        var layer = new TarBuilder();
        for (var i = 0; i < 101; i++)
            layer.Directory($"d{i}");
        Refused("over 100 entries", layer, new ImageLimits { MaxEntries = 100 });
    }

    [Fact]
    public void Directories_made_for_a_path_count_as_entries() =>
        Refused("entries", new TarBuilder().File(string.Join('/', Enumerable.Repeat("d", 40))), new ImageLimits { MaxEntries = 30 });

    [Fact]
    public void Deep_nesting_is_refused_also_when_links_hide_it()
    {
        var limits = new ImageLimits { MaxDepth = 64 };
        Refused("inside one another", new TarBuilder().Pax(("path", string.Join('/', Enumerable.Repeat("d", 66)))).File("f"), limits);
        var deep = string.Join('/', Enumerable.Repeat("d", 40));
        Refused("inside one another", new TarBuilder().Directory(deep).SymbolicLink("s", deep).File($"s/{deep}/x"), limits);
        Assert.Contains("/s", TestRootfs.Merge(new TarBuilder().Directory(deep).SymbolicLink("s", deep).ToArray()).Keys);
    }

    [Fact]
    public void Work_on_paths_is_bounded()
    {
        var layer = new TarBuilder().Directory("d");
        for (var i = 0; i < 50; i++)
            layer.SymbolicLink($"l{i}", i == 0 ? "d" : $"l{i - 1}").File($"l{i}/x");
        Refused("steps", layer, new ImageLimits { MaxPathSteps = 500 });
    }

    [Fact]
    public void Overlong_names_and_paths_are_refused()
    {
        Refused("256 bytes", new TarBuilder().Pax(("path", new string('n', 256))).File("f"));
        Refused("5000 bytes", new TarBuilder().Pax(("path", new string('n', 5000))).File("f"));
        Assert.Contains("/" + new string('n', 255), TestRootfs.Merge(new TarBuilder().Pax(("path", new string('n', 255))).File("f").ToArray()).Keys);
    }

    [Fact]
    public void Pax_records_that_are_malformed_are_refused()
    {
        foreach (var data in (string[])["nonsense", "5 a=b\n", "999999 a=b\n", "0 a=b\n", "-6 a=b\n", "6 a=bc", "5 =b\n", "99999999999 a=b\n"])
            Refused("extended header", new TarBuilder().Entry('x', "pax"u8.ToArray(), content: TarBuilder.Latin1(data)).File("f"));
        Refused("NUL", new TarBuilder().Pax(("path", "a\0b")).File("f"));
        Refused("name", new TarBuilder().Pax(("SCHILY.xattr.", "x")).File("f"));
    }

    [Fact]
    public void Huge_extension_headers_are_refused_before_they_are_read()
    {
        Refused("extension header", new TarBuilder().Entry('x', "pax"u8.ToArray(), size: 2L << 30));
        Refused("extension header", new TarBuilder().Entry('L', "long"u8.ToArray(), size: 2L << 30));
    }

    [Fact]
    public void Endless_extension_headers_are_refused()
    {
        var layer = new TarBuilder();
        for (var i = 0; i < 20; i++)
            layer.Entry('L', "long"u8.ToArray(), content: "n\0"u8.ToArray());
        Refused("extension headers", layer.File("f"));
    }

    [Fact]
    public void Extended_attributes_beyond_limits_are_refused()
    {
        Refused("attribute", new TarBuilder().Pax(("SCHILY.xattr.user." + new string('n', 256), "x")).File("f"));
        Refused("attributes", new TarBuilder().Pax(("SCHILY.xattr.user.a", new string('v', 65_000)), ("SCHILY.xattr.user.b", new string('v', 65_000))).File("f"));
        Refused("attributes", new TarBuilder().Pax(("SCHILY.xattr.user.a", new string('v', 5000))).File("f"), new ImageLimits { MaxXattrBytes = 4096 });
        Refused("root directory", new TarBuilder().Pax(("SCHILY.xattr.user.a", new string('v', 5000))).Directory("./"));
    }

    [Fact]
    public void Large_extended_attributes_within_limits_are_kept()
    {
        var value = new string('v', 60_000);
        var tree = TestRootfs.Merge(new TarBuilder()
            .Pax(("SCHILY.xattr.user.a", value)).File("f", new string('x', 5000))
            .Pax(("SCHILY.xattr.user.a", value)).Directory("d")
            .Pax(("SCHILY.xattr.user.a", value)).SymbolicLink("s", "target").ToArray());
        foreach (var path in (string[])["/f", "/d", "/s"])
            Assert.Equal(value, tree[path].Xattrs["user.a"]);
        Assert.Equal(new string('x', 5000), tree["/f"].Text);
        Assert.Equal("target", tree["/s"].Text);
    }

    [Fact]
    public void Impossible_owners_and_devices_are_refused()
    {
        Refused("user id", new TarBuilder().Pax(("uid", "4294967295")).File("f"));
        Refused("group id", new TarBuilder().Pax(("gid", "-1")).File("f"));
        Refused("device", new TarBuilder().Entry('3', "d"u8.ToArray(), major: 4096));
        Refused("device", new TarBuilder().Entry('4', "d"u8.ToArray(), minor: 0x100000));
    }

    [Fact]
    public void Damaged_headers_are_refused()
    {
        var damaged = new TarBuilder().File("f").ToArray();
        damaged[0] ^= 1;
        Assert.Contains("checksum", Assert.Throws<ImageException>(() => TestRootfs.Build(damaged)).Message);
        Refused("unknown type", new TarBuilder().Entry('Z', "f"u8.ToArray()));
        Refused("zero block", new TarBuilder().File("a").Raw(new byte[512]).File("b"));
        Refused("without an entry", new TarBuilder().Pax(("path", "x")));
    }

    [Fact]
    public void A_symbolic_link_without_a_proper_target_is_refused()
    {
        Refused("target", new TarBuilder().SymbolicLink("s", ""));
        Refused("target", new TarBuilder().Pax(("linkpath", new string('t', 4096))).SymbolicLink("s", "x"));
    }

    [Fact]
    public void Messages_show_no_control_characters_of_a_name() =>
        Assert.DoesNotContain('\u001b', Refused("unknown type", new TarBuilder().File("\u001b[31mred").Entry('1', "\u001b[2Jx"u8.ToArray(), link: "gone"u8.ToArray()), expectText: false));

    private static string Refused(string words, TarBuilder layer, ImageLimits? limits = null, bool expectText = true)
    {
        var error = Assert.Throws<ImageException>(() => TestRootfs.Build(limits ?? new ImageLimits(), layer.ToArray()));
        Assert.Equal("image-invalid", error.Code);
        Assert.DoesNotContain('\n', error.Message);
        if (expectText)
            Assert.Contains(words, error.Message);
        return error.Message;
    }
}
