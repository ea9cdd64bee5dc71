using CsCheck;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>Random layers against a model that knows nothing of inodes, blocks or trees: a map from path to content.</summary>
public sealed class RandomTreesTests
{
    /// <summary>How often each comes.</summary>
    private static readonly Kind[] Mix =
    [
        Kind.File, Kind.File, Kind.File, Kind.File, Kind.Directory, Kind.Directory, Kind.Directory, Kind.Whiteout, Kind.Whiteout, Kind.Opaque,
        Kind.HardLink, Kind.HardLink,
    ];

    private static readonly Gen<string> Name = Gen.Int[0, 3].Select(i => "abcd"[i].ToString());
    private static readonly Gen<string> AnyPath = Name.Array[1, 4].Select(parts => string.Join('/', parts));

    private static readonly Gen<Operation> AnyOperation = Gen.Select(
        Gen.Int[0, Mix.Length - 1].Select(i => Mix[i]),
        AnyPath, AnyPath, Gen.OneOf(Gen.Int[0, 20], Gen.Int[4000, 4200], Gen.Int[8000, 9000]),
        (kind, path, target, size) => new Operation(kind, path, target, size));

    private enum Kind
    {
        File,
        Directory,
        Whiteout,
        Opaque,
        HardLink,
    }

    private sealed record Operation(Kind Kind, string Path, string Target, int Size);

    [Fact]
    public void Layers_merge_as_the_model_says() =>
        AnyOperation.Array[0, 12].Array[1, 4].Sample(
            layers =>
            {
                var model = new Model();
                var archives = layers.Select((layer, index) => model.Apply(layer, index)).ToArray();
                var tree = TestRootfs.Merge(archives);
                Assert.Equal(model.Paths, tree.ToDictionary(pair => pair.Key, pair => (pair.Value.Mode & 0xf000) == 0x4000 ? "directory" : pair.Value.Text));
                foreach (var group in model.Names)
                    Assert.All(group, path => Assert.Equal((uint)group.Count, tree[path].Links));
            },
            iter: 2000);

    [Fact]
    public void Attributes_of_any_value_come_back() =>
        Gen.Select(Gen.Int[0, 0xfff], Gen.UInt[0, uint.MaxValue - 1], Gen.UInt[0, uint.MaxValue - 1], Gen.Long[-(1L << 40), 1L << 40], Gen.Int[0, 999_999_999], Gen.Byte.Array[0, 6000])
            .Sample(
                (mode, uid, gid, seconds, nanoseconds, content) =>
                {
                    var time = seconds < 0 && nanoseconds > 0
                        ? $"{(seconds == -1 ? "-0" : $"{seconds + 1}")}.{1_000_000_000 - nanoseconds:d9}"
                        : $"{seconds}.{nanoseconds:d9}";
                    var node = TestRootfs.Merge(new TarBuilder()
                        .Pax(("uid", $"{uid}"), ("gid", $"{gid}"), ("mtime", time), ("SCHILY.xattr.user.x", "v"))
                        .Entry('0', "f"u8.ToArray(), content: content, mode: mode).ToArray())["/f"];
                    Assert.Equal((0x8000 | mode, uid, gid, seconds, (uint)nanoseconds), (node.Mode, node.UserId, node.GroupId, node.Seconds, node.Nanoseconds));
                    Assert.Equal(content, node.Content);
                },
                iter: 500);

    /// <summary>Paths, and which layer last had a hand in each.</summary>
    private sealed class Model
    {
        private readonly Dictionary<string, (object Content, int Layer)> _paths = new() { ["/"] = ("directory", -1) };

        public Dictionary<string, string> Paths =>
            _paths.ToDictionary(pair => pair.Key, pair => pair.Value.Content as string ?? ((FileContent)pair.Value.Content).Text);

        /// <summary>Names of each file.</summary>
        public List<List<string>> Names =>
            [.. _paths.Where(pair => pair.Value.Content is FileContent).GroupBy(pair => pair.Value.Content).Select(group => group.Select(pair => pair.Key).ToList())];

        /// <summary>Applies what of the operations is legal, and returns the archive that says the same.</summary>
        public byte[] Apply(Operation[] operations, int layer)
        {
            var archive = new TarBuilder();
            foreach (var (kind, name, target, size) in operations)
            {
                var path = "/" + name;
                var parents = Ancestors(path).ToList();
                if (kind is Kind.Whiteout or Kind.Opaque)
                {
                    archive.Whiteout(kind == Kind.Opaque ? $"{name}/.wh..wh..opq" : WhiteoutOf(name));
                    if (kind == Kind.Opaque ? _paths.ContainsKey(path) && IsDirectory(path) && parents.All(IsDirectory) : parents.All(IsDirectory))
                        Hide(path, layer, kind == Kind.Opaque);
                    continue;
                }
                // Below a file, an entry is an error; those have tests of their own.
                if (parents.Any(parent => _paths.ContainsKey(parent) && !IsDirectory(parent)))
                    continue;
                if (kind == Kind.HardLink && ("/" + target == path || !_paths.TryGetValue("/" + target, out var linked) || linked.Content is not FileContent || ("/" + target).StartsWith(path + "/", StringComparison.Ordinal)))
                    continue;
                object content = kind switch
                {
                    Kind.Directory => "directory",
                    Kind.HardLink => _paths["/" + target].Content,
                    _ => new FileContent(new string((char)('a' + (size % 26)), size)),
                };
                _ = kind switch
                {
                    Kind.Directory => archive.Directory(name),
                    Kind.HardLink => archive.HardLink(name, target),
                    _ => archive.File(name, ((FileContent)content).Text),
                };
                if (kind != Kind.Directory || (_paths.ContainsKey(path) && !IsDirectory(path)))
                    Remove(path);
                foreach (var parent in parents)
                    _paths[parent] = ("directory", layer);
                _paths[path] = (content, layer);
            }
            return archive.ToArray();
        }

        private void Hide(string path, int layer, bool below)
        {
            var prefix = path + "/";
            foreach (var candidate in _paths.Keys.Where(key => (!below && key == path) || key.StartsWith(prefix, StringComparison.Ordinal)).ToList())
            {
                if (_paths[candidate].Layer != layer)
                    _paths.Remove(candidate);
            }
        }

        private void Remove(string path)
        {
            foreach (var candidate in _paths.Keys.Where(key => key == path || key.StartsWith(path + "/", StringComparison.Ordinal)).ToList())
                _paths.Remove(candidate);
        }

        private bool IsDirectory(string path) => _paths.TryGetValue(path, out var entry) && entry.Content is string;

        private static string WhiteoutOf(string name)
        {
            var slash = name.LastIndexOf('/');
            return slash < 0 ? $".wh.{name}" : $"{name[..slash]}/.wh.{name[(slash + 1)..]}";
        }

        private static IEnumerable<string> Ancestors(string path)
        {
            yield return "/";
            for (var slash = path.IndexOf('/', 1); slash > 0; slash = path.IndexOf('/', slash + 1))
                yield return path[..slash];
        }
    }

    /// <summary>Compared by identity: two names of one object are hard links.</summary>
    private sealed class FileContent(string text)
    {
        public string Text { get; } = text;
    }
}
