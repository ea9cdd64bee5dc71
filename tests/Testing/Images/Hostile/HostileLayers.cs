using Ravel.Images;
using Xunit;

namespace Ravel.Testing.Images.Hostile;

/// <summary>Archives that try to get out of the image, to lie, or to cost more than they should.</summary>
internal static class HostileLayers
{
    public static IEnumerable<HostileImage> All =>
    [
        // Out of the tree
        Confined("Names with dot-dot stay inside", canary => new TarBuilder().File("../../../../../../../.." + canary + "/x", "caught"), canary => canary + "/x"),
        Confined("Absolute names stay inside", canary => new TarBuilder().File(canary + "/x", "caught"), canary => canary + "/x"),
        Confined("A name through a symbolic link to outside stays inside", canary => new TarBuilder().SymbolicLink("out", "/../../.." + canary).File("out/x", "caught"), canary => canary + "/x"),
        Confined("A name through a chain of symbolic links stays inside", canary => new TarBuilder().SymbolicLink("a", "b/..").SymbolicLink("b", canary).File("a/x", "caught"), canary => Path.GetDirectoryName(canary) + "/x"),
        new("A loop of symbolic links", HostileImage.Layers(new TarBuilder().SymbolicLink("a", "b").SymbolicLink("b", "a").File("a/x")), "loop of symbolic links"),
        new("A hard link to outside", (layout, canary) => HostileImage.Layers(new TarBuilder().HardLink("h", "../../.." + canary + "/file"))(layout, canary), "hard link to"),
        new("A hard link to an absolute name outside", (layout, canary) => HostileImage.Layers(new TarBuilder().HardLink("h", canary + "/file"))(layout, canary), "hard link to"),
        new("A hard link through a symbolic link to outside", (layout, canary) => HostileImage.Layers(new TarBuilder().SymbolicLink("s", canary).HardLink("h", "s/file"))(layout, canary), "hard link to"),
        new("A hard link to itself", HostileImage.Layers(new TarBuilder().HardLink("h", "h")), "hard link to h"),
        new("A hard link to itself in place of a file", HostileImage.Layers(new TarBuilder().File("h").HardLink("h", "h")), "hard link to h"),
        new("A hard link to what comes later", HostileImage.Layers(new TarBuilder().HardLink("h", "f").File("f")), "hard link to f"),
        new("A hard link to what a whiteout took", HostileImage.Layers(new TarBuilder().File("f"), new TarBuilder().Whiteout(".wh.f").HardLink("h", "f")), "hard link to f"),
        new("A hard link to a directory", HostileImage.Layers(new TarBuilder().Directory("d").HardLink("h", "d")), "the directory d"),
        new("A hard link to the root", HostileImage.Layers(new TarBuilder().HardLink("h", "/")), "hard link to /"),
        new("A hard link in place of the directory that holds its target", HostileImage.Layers(new TarBuilder().File("d/f").HardLink("d", "d/f")), "hard link to d/f"),
        Confined("A whiteout through a symbolic link to outside", canary => new TarBuilder().File(canary[1..] + "/file", "ours").File("x", "caught").SymbolicLink("s", canary), _ => "/x", canary => new TarBuilder().Whiteout("s/.wh.file").Whiteout("s/.wh..wh..opq")),
        Confined("A whiteout with dot-dot", canary => new TarBuilder().File("x", "caught"), _ => "/x", canary => new TarBuilder().Whiteout("../../.." + canary + "/.wh.file").Whiteout("../../.." + canary + "/.wh..wh..opq")),
        new("A whiteout of the directory itself", HostileImage.Layers(new TarBuilder().Whiteout("d/.wh..")), "whiteout that names no file"),
        new("A whiteout of the parent", HostileImage.Layers(new TarBuilder().Whiteout("d/.wh...")), "whiteout that names no file"),
        new("A root that is a symbolic link", HostileImage.Layers(new TarBuilder().SymbolicLink("/", "/etc")), "root directory"),
        new("A file as a directory", HostileImage.Layers(new TarBuilder().File("f").File("f/x")), "not a directory"),

        // Device nodes are part of images; only the guest ever sees them, and only with numbers that exist
        new(
            "Device nodes stay inside the image",
            HostileImage.Layers(new TarBuilder().Entry('4', "sda"u8.ToArray(), major: 8).Entry('3', "mem"u8.ToArray(), major: 1, minor: 1).Entry('6', "fifo"u8.ToArray())), null)
        {
            Check = tree => Assert.Equal(0x6000, tree["/sda"].Mode & 0xf000),
        },
        new("A device with a number that does not exist", HostileImage.Layers(new TarBuilder().Entry('3', "d"u8.ToArray(), major: 5000)), "device with the number"),
        new("An entry of a type nobody knows", HostileImage.Layers(new TarBuilder().Entry('Q', "f"u8.ToArray())), "unknown type"),

        // Extended headers
        Confined("A path of an extended header with dot-dot stays inside", canary => new TarBuilder().Pax(("path", "../../.." + canary + "/x")).File("harmless", "caught"), canary => canary + "/x"),
        new("A link target of an extended header outside", (layout, canary) => HostileImage.Layers(new TarBuilder().Pax(("linkpath", canary + "/file")).HardLink("h", "h"))(layout, canary), "hard link to"),
        new("A size of an extended header beyond the archive", HostileImage.Layers(new TarBuilder().Pax(("size", "999999")).File("f", "short")), "end before its last entry"),
        new("A size of an extended header beyond 64 bits", HostileImage.Layers(new TarBuilder().Pax(("size", "99999999999999999999")).File("f")), "size is not a number"),
        new("A negative size of an extended header", HostileImage.Layers(new TarBuilder().Pax(("size", "-1")).File("f")), "negative size"),
        new("An owner beyond 32 bits", HostileImage.Layers(new TarBuilder().Pax(("uid", "4294967296")).File("f")), "user id"),
        new("An owner that Linux means nobody by", HostileImage.Layers(new TarBuilder().Pax(("gid", "4294967295")).File("f")), "group id"),
        new("An owner that is no number", HostileImage.Layers(new TarBuilder().Pax(("uid", "root")).File("f")), "user id"),
        Confined("A key that stands twice counts as the last", _ => new TarBuilder().Pax(("path", "first"), ("path", "last")).File("f", "caught"), _ => "/last"),
        new("A record with a length of nothing", Extended("0 path=x\n"), "wrong length"),
        new("A record longer than its header", Extended("900 path=x\n"), "wrong length"),
        new("A record without a length", Extended("path=x\n"), "extended header without"),
        new("A record without a key", Extended("5 =x\n"), "without a key"),
        new("An extended header of gigabytes", HostileImage.Layers(new TarBuilder().Entry('x', "pax"u8.ToArray(), size: 8L << 30 >> 1)), "extension header of"),
        new("Extended headers without an entry", HostileImage.Layers(new TarBuilder().Pax(("path", "x"))), "without an entry"),
        new("Extended headers without end", HostileImage.Layers(Enumerable.Range(0, 50).Aggregate(new TarBuilder(), (layer, _) => layer.Pax(("path", "x"))).File("f")), "more than 8 extension headers"),
        new("A NUL in a name of an extended header", HostileImage.Layers(new TarBuilder().Pax(("path", "a\0b")).File("f")), "NUL"),
        new("A NUL in a link target of an extended header", HostileImage.Layers(new TarBuilder().Pax(("linkpath", "a\0b")).SymbolicLink("s", "t")), "NUL"),
        new("A NUL in the name of an attribute", HostileImage.Layers(new TarBuilder().Pax(("SCHILY.xattr.user.a\0b", "x")).File("f")), "attribute without a proper name"),

        // Lies about size
        new("A file shorter than its header says", HostileImage.Layers(new TarBuilder().Entry('0', "f"u8.ToArray(), content: "x"u8.ToArray(), size: 1 << 20)), "end before its last entry"),
        new("A file of more than an image may have", HostileImage.Layers(new TarBuilder().Entry('0', "f"u8.ToArray(), size: 8L << 30 >> 1)), "bytes") { Limits = new ImageLimits { MaxFileBytes = 1 << 20 } },
        new("A sparse file of exabytes", HostileImage.Layers(new TarBuilder().Pax(("GNU.sparse.size", "900000000000000000"), ("GNU.sparse.map", "0,1")).File("s", "x")), "the image's files have over"),
        new("A sparse map that overlaps", HostileImage.Layers(new TarBuilder().Pax(("GNU.sparse.size", "10"), ("GNU.sparse.map", "0,3,2,3")).File("s", "abcdef")), "sparse map"),
        new("A sparse map of more data than there is", HostileImage.Layers(new TarBuilder().Pax(("GNU.sparse.size", "100"), ("GNU.sparse.map", "0,50")).File("s", "abc")), "sparse map"),
        new("A checksum that is wrong", (layout, _) => new LayoutBuilder(layout).Layer([(byte)'x', .. new TarBuilder().File("f").ToArray()[1..]]).Build(), "checksum"),

        // Number and depth
        new("Directories by the thousand over the limit", HostileImage.Layers(Directories(2001)), "over 2000 entries") { Limits = new ImageLimits { MaxEntries = 2000 } },
        new("Directories that no entry names, over the limit", HostileImage.Layers(new TarBuilder().File(string.Join('/', Enumerable.Repeat("d", 45)))), "entries") { Limits = new ImageLimits { MaxEntries = 40 } },
        new("Directories inside one another over the limit", HostileImage.Layers(Nested(3, 1000)), "inside one another"),
        new("Names of megabytes", HostileImage.Layers(new TarBuilder().Entry('L', "l"u8.ToArray(), content: [.. Enumerable.Repeat((byte)'n', 900_000)]).File("f")), "Linux takes"),
        new("Names of more than memory should hold", HostileImage.Layers(Links(300)), "names and symbolic links") { Limits = new ImageLimits { MaxNameBytes = 1 << 20 } },
        new("Paths that cost more steps than allowed", HostileImage.Layers(Chain(60)), "steps") { Limits = new ImageLimits { MaxPathSteps = 500 } },
        new("Attributes of more than an image may have", HostileImage.Layers(new TarBuilder().Pax(("SCHILY.xattr.user.a", new string('v', 5000))).File("f")), "extended attributes") { Limits = new ImageLimits { MaxXattrBytes = 4096 } },
        new("Hard links without end", HostileImage.Layers(Enumerable.Range(0, 65_001).Aggregate(new TarBuilder().File("f"), (layer, i) => layer.HardLink($"h{i}", "f"))), "65000 hard links"),
        new("Opaque whiteouts by the thousand over a full directory", HostileImage.Layers(Enumerable.Range(0, 5000).Aggregate(Directories(5000), (layer, _) => layer.Whiteout(".wh..wh..opq"))), null)
        {
            Check = tree => Assert.Equal(5001, tree.Count),
        },
    ];

    /// <summary>An image that is harmless: its file is inside the rootfs, and nowhere else.</summary>
    private static HostileImage Confined(string name, Func<string, TarBuilder> first, Func<string, string> path, Func<string, TarBuilder>? second = null)
    {
        var place = "";
        return new(
            name,
            (layout, canary) =>
            {
                place = path(canary);
                HostileImage.Layers(second is null ? [first(canary)] : [first(canary), second(canary)])(layout, canary);
            },
            null)
        {
            Check = tree => Assert.Equal("caught", tree[place].Text),
        };
    }

    private static Action<string, string> Extended(string records) =>
        HostileImage.Layers(new TarBuilder().Entry('x', "pax"u8.ToArray(), content: TarBuilder.Latin1(records)).File("f"));

    private static TarBuilder Directories(int count) =>
        Enumerable.Range(0, count).Aggregate(new TarBuilder(), (layer, i) => layer.Directory($"d{i}"));

    /// <summary>Deeper than a path may be long, with links to go on from.</summary>
    private static TarBuilder Nested(int times, int depth)
    {
        var path = string.Join('/', Enumerable.Repeat("d", depth));
        var layer = new TarBuilder();
        for (var i = 0; i < times; i++)
            layer.Pax(("path", $"{(i == 0 ? "" : $"l{i - 1}/")}{path}/")).Directory("x").Pax(("linkpath", $"{(i == 0 ? "" : $"l{i - 1}/")}{path}")).SymbolicLink($"l{i}", "x");
        return layer;
    }

    private static TarBuilder Links(int count) =>
        Enumerable.Range(0, count).Aggregate(new TarBuilder(), (layer, i) => layer.Pax(("linkpath", new string('t', 4000))).SymbolicLink($"s{i}", "x"));

    private static TarBuilder Chain(int count) =>
        Enumerable.Range(0, count).Aggregate(new TarBuilder().Directory("d"), (layer, i) => layer.SymbolicLink($"l{i}", i == 0 ? "d" : $"l{i - 1}").File($"l{i}/x"));
}
