using System.Globalization;
using CsCheck;

namespace Ravel.Testing.Images;

/// <summary>
/// Random images as layers of tar: files of sizes around block boundaries, dense and sparse, directories, links of both
/// kinds, devices, FIFOs, owners, modes, times, extended attributes, names that are not text, whiteouts and opaque
/// directories, type changes from layer to layer. CsCheck shrinks them and prints the seed.
/// </summary>
/// <remarks>
/// A layer describes the directories of all of its entries, before or after them, as archivers do: what an undescribed
/// directory looks like is nobody's rule. Symbolic links have names of their own, so that no path leads through one; that has
/// tests of its own.
/// No extended attribute is empty, because Go, and so umoci, takes an empty PAX record for none.
/// </remarks>
public static class RandomLayers
{
    private static readonly string[] DirectoryNames = ["d", "e", "very long " + new string('x', 245), "d\u00ff\u00fe", ".hidden", "-rf"];
    private static readonly string[] FileNames = ["f", "g", "h\n", new string('n', 255), "\u0080", "d", "caf\u00c3\u00a9", "a b", "~", "wh.f", ".f"];

    private static readonly string[] XattrNames = ["user.a", "user.long-name-of-an-attribute", "trusted.t", "security.other", "user.\u00e9"];

    private static readonly Gen<long> Size = Gen.Frequency(
        (6, Gen.Long[0, 70]), (6, Gen.Long[3_950, 4_200]), (3, Gen.Long[8_100, 8_300]), (2, Gen.Long[65_000, 140_000]), (1, Gen.Long[1_048_000, 3_200_000]));

    private static readonly Gen<Xattr[]> Xattrs = Gen.Frequency(
        (5, Gen.Const(Array.Empty<Xattr>())),
        (2, Gen.Select(
            Any(XattrNames), Gen.Char['\0', '\u00ff'].Array[1, 300],
            (name, value) => new Xattr(name, new string(value))).Array[1, 4]));

    private static readonly Gen<Attributes> AnyAttributes = Gen.Select(
        Gen.Int[0, 0xfff], Gen.OneOf(Gen.Const(0L), Gen.Long[0, 4_294_967_294]), Gen.OneOf(Gen.Const(0L), Gen.Long[0, 4_294_967_294]),
        // From 1901, where ext4 begins, which umoci unpacks to, to 2262, where umoci's nanoseconds overflow.
        Gen.OneOf(Gen.Const(0L), Gen.Long[-2_147_483_648, 9_223_372_035]), Gen.OneOf(Gen.Const(0), Gen.Int[0, 999_999_999]), Xattrs,
        (mode, user, group, seconds, nanoseconds, xattrs) => new Attributes(mode, user, group, seconds, nanoseconds, [.. xattrs.DistinctBy(x => x.Name)]));

    private static readonly Gen<string> DirectoryPath = Any(DirectoryNames).Array[0, 3].Select(parts => string.Concat(parts.Select(part => part + "/")));

    private static readonly Gen<string> AnyPath = Gen.Select(
        DirectoryPath, Gen.Frequency((20, Any(FileNames)), (1, Any(DirectoryNames))), (directory, name) => directory + name);

    private static readonly Gen<Change> AnyChange = Gen.Select(
        Gen.Frequency(
            (8, Gen.Const(Kind.File)), (2, Gen.Const(Kind.Sparse)), (5, Gen.Const(Kind.Directory)), (3, Gen.Const(Kind.SymbolicLink)),
            (4, Gen.Const(Kind.HardLink)), (1, Gen.Const(Kind.Device)), (1, Gen.Const(Kind.Fifo)), (4, Gen.Const(Kind.Whiteout)), (2, Gen.Const(Kind.Opaque))),
        AnyPath, AnyAttributes, Size, Gen.Int[0, 1000],
        (kind, path, attributes, size, pick) => new Change(kind, kind == Kind.SymbolicLink ? OfLink(path) : path, attributes, size, pick));

    /// <summary>One to four layers of up to a dozen changes.</summary>
    public static Gen<Layer[]> Images { get; } = Gen.Select(
        AnyChange.Array[0, 12], Gen.Bool, AnyAttributes, (changes, parentsFirst, parents) => new Layer(changes, parentsFirst, parents)).Array[1, 4];

    public enum Kind
    {
        File,
        Sparse,
        Directory,
        SymbolicLink,
        HardLink,
        Device,
        Fifo,
        Whiteout,
        Opaque,
    }

    /// <param name="Pick">Chooses a link's target, a device's number, a file's bytes.</param>
    public sealed record Change(Kind Kind, string Path, Attributes Attributes, long Size, int Pick);

    /// <param name="Xattrs">Values as Latin-1.</param>
    public sealed record Attributes(int Mode, long User, long Group, long Seconds, int Nanoseconds, IReadOnlyList<Xattr> Xattrs);

    public sealed record Xattr(string Name, string Value);

    /// <param name="ParentsFirst">Whether directories come before what is in them, or last.</param>
    /// <param name="Parents">Of the directories that lead to the layer's entries.</param>
    public sealed record Layer(IReadOnlyList<Change> Changes, bool ParentsFirst, Attributes Parents);

    /// <summary>The archives of an image, oldest first.</summary>
    public static IEnumerable<byte[]> Archives(IReadOnlyList<Layer> layers)
    {
        // What is a file at the moment, so that most hard links lead to one.
        var files = new List<string>();
        foreach (var layer in layers)
        {
            var archive = new TarBuilder();
            var described = layer.Changes.Where(change => change.Kind is not (Kind.Whiteout or Kind.Opaque))
                .SelectMany(change => Ancestors(change.Path)).Append("./").Distinct().OrderBy(path => path.Length).ToList();
            if (layer.ParentsFirst)
                described.ForEach(path => Write(archive, '5', path, layer.Parents));
            foreach (var drawn in layer.Changes)
            {
                var change = drawn.Kind == Kind.HardLink && files.Count > 0 && IsOfLink(files[drawn.Pick % files.Count]) ? drawn with { Path = OfLink(drawn.Path) } : drawn;
                Write(archive, change, files);
                files.RemoveAll(file => file == change.Path || file.StartsWith(change.Path + "/", StringComparison.Ordinal));
                if (change.Kind is Kind.File or Kind.Sparse or Kind.HardLink or Kind.SymbolicLink)
                    files.Add(change.Path);
            }
            if (!layer.ParentsFirst)
                described.ForEach(path => Write(archive, '5', path, layer.Parents));
            yield return archive.ToArray();
        }
    }

    /// <summary>
    /// Whether a whiteout may have taken something out of this directory after its own layer had described it: that moves
    /// the directory's time on the disk, and umoci puts back only the time of the whiteout's own directory.
    /// </summary>
    public static bool IsTimeOpen(IReadOnlyList<Layer> layers, string path) => layers.SelectMany(layer => layer.Changes).Any(change => change.Kind switch
    {
        Kind.Whiteout => (path + "/").StartsWith($"/{change.Path}/", StringComparison.Ordinal),
        Kind.Opaque => path.StartsWith($"/{change.Path[..(change.Path.LastIndexOf('/') + 1)]}", StringComparison.Ordinal),
        _ => false,
    });

    /// <summary>An image in a few lines, for whoever has to find out what is special about it.</summary>
    public static string Describe(IReadOnlyList<Layer> layers) => string.Join('\n', layers.Select((layer, i) =>
        $"layer {i}, parents {(layer.ParentsFirst ? "first" : "last")} {Describe(layer.Parents)}\n"
        + string.Join('\n', layer.Changes.Select(change =>
            $"  {change.Kind} {Uri.EscapeDataString(change.Path)} size {change.Size} pick {change.Pick} {Describe(change.Attributes)}"))));

    private static string Describe(Attributes attributes) => string.Create(
        CultureInfo.InvariantCulture,
        $"{Convert.ToString(attributes.Mode, 8)} {attributes.User}:{attributes.Group} {attributes.Seconds}+{attributes.Nanoseconds} {string.Join(' ', attributes.Xattrs.Select(xattr => $"{xattr.Name}[{xattr.Value.Length}]"))}");

    private static string OfLink(string path) => (path.Length > 250 ? path[..^2] : path) + "@s";

    private static bool IsOfLink(string path) => path.EndsWith("@s", StringComparison.Ordinal);

    private static Gen<string> Any(string[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static void Write(TarBuilder archive, Change change, List<string> files)
    {
        var (kind, path, attributes, size, pick) = change;
        switch (kind)
        {
            case Kind.File:
                Write(archive, '0', path, attributes, content: Content(size, pick));
                break;
            case Kind.Sparse:
                WriteSparse(archive, path, attributes, size, pick);
                break;
            case Kind.Directory:
                Write(archive, '5', path, attributes);
                break;
            case Kind.SymbolicLink:
                Write(archive, '2', path, attributes, link: string.Concat(Enumerable.Repeat($"../{pick}/", 400))[..(1 + (pick * 4 % 2000))]);
                break;
            case Kind.HardLink when files.Count > 0:
                Write(archive, '1', path, attributes, link: files[pick % files.Count]);
                break;
            case Kind.Device:
                Write(archive, pick % 2 == 0 ? '3' : '4', path, attributes with { Xattrs = [] }, major: pick * 4 % 4096, minor: pick * 1009 % 1_048_576);
                break;
            case Kind.Fifo:
                Write(archive, '6', path, attributes with { Xattrs = [] });
                break;
            case Kind.Whiteout:
                archive.Pax(("path", path.Insert(path.LastIndexOf('/') + 1, ".wh."))).File("whiteout");
                break;
            case Kind.Opaque:
                archive.Pax(("path", $"{path[..(path.LastIndexOf('/') + 1)]}.wh..wh..opq")).File("opaque");
                break;
        }
    }

    private static void Write(
        TarBuilder archive, char type, string path, Attributes attributes, string? link = null, byte[]? content = null, int major = 0, int minor = 0)
    {
        // The kernel lets no user. attribute onto a symbolic link; the layer of one has none.
        var xattrs = type == '2' ? [] : attributes.Xattrs;
        archive.Pax([.. Records(path, attributes, xattrs), .. link is null ? [] : new[] { ("linkpath", link) }])
            .Entry(type, "entry"u8.ToArray(), TarBuilder.Latin1("target"), content, attributes.Mode, major: major, minor: minor);
    }

    /// <summary>Sparse format 1.0 with data every few blocks, from none to the very end.</summary>
    private static void WriteSparse(TarBuilder archive, string path, Attributes attributes, long size, int pick)
    {
        var extents = new List<(long Offset, long Length)>();
        for (long at = pick % 3 * 512; at < size && extents.Count < 100; at += 1024 + (pick * 37 % 20_000))
            extents.Add((at, Math.Min(size - at, 1 + (pick % 1500))));
        extents = [.. extents.Where((extent, i) => i == 0 || extent.Offset >= extents[i - 1].Offset + extents[i - 1].Length)];
        var map = string.Concat(new[] { extents.Count }.Select(count => $"{count}\n").Concat(extents.Select(extent => $"{extent.Offset}\n{extent.Length}\n")));
        byte[] stored = [.. TarBuilder.Latin1(map.PadRight((map.Length + 511) / 512 * 512, '\0')), .. Content(extents.Sum(extent => extent.Length), pick)];
        archive.Pax([
                .. Records("GNUSparseFile.0/f", attributes, attributes.Xattrs),
                ("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", path), ("GNU.sparse.realsize", $"{size}"),
            ])
            .Entry('0', "entry"u8.ToArray(), content: stored, mode: attributes.Mode);
    }

    private static IEnumerable<(string, string)> Records(string path, Attributes attributes, IReadOnlyList<Xattr> xattrs) =>
    [
        ("path", path), ("uid", $"{attributes.User}"), ("gid", $"{attributes.Group}"), ("mtime", Time(attributes.Seconds, attributes.Nanoseconds)),
        .. xattrs.Select(xattr => ($"SCHILY.xattr.{xattr.Name}", xattr.Value)),
    ];

    /// <summary>Before 1970 a decimal fraction counts backwards.</summary>
    private static string Time(long seconds, int nanoseconds) => seconds >= 0 || nanoseconds == 0
        ? string.Create(CultureInfo.InvariantCulture, $"{seconds}.{nanoseconds:d9}")
        : string.Create(CultureInfo.InvariantCulture, $"{(seconds == -1 ? "-0" : $"{seconds + 1}")}.{1_000_000_000 - nanoseconds:d9}");

    /// <summary>Runs of zeros between bytes, so that blocks of zeros occur.</summary>
    private static byte[] Content(long size, int pick)
    {
        var bytes = new byte[size];
        var random = new Random(pick);
        for (var at = 0; at < bytes.Length; at += random.Next(1, 20_000))
            random.NextBytes(bytes.AsSpan(at, Math.Min(random.Next(1, 9000), bytes.Length - at)));
        return bytes;
    }

    private static IEnumerable<string> Ancestors(string path)
    {
        for (var slash = path.IndexOf('/', StringComparison.Ordinal); slash > 0; slash = path.IndexOf('/', slash + 1))
            yield return path[..(slash + 1)];
    }
}
