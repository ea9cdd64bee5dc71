using Ravel.Images;
using Ravel.Testing.Images.Fuzzing;
using Xunit;

namespace Ravel.Testing.Images.Hostile;

/// <summary>Compressed layers that unpack to too much, to something else, or not at all.</summary>
internal static class HostileCompression
{
    private static readonly byte[] Plain = new TarBuilder().File("hello", string.Concat(Enumerable.Range(0, 500))).ToArray();

    private static readonly ImageLimits Small = new() { MaxLayerBytes = 4 << 20 };

    public static IEnumerable<HostileImage> All =>
    [
        new("A gzip bomb", Stored([.. Plain, .. new byte[32 << 20]], Compressed.Gzip), "unpack to over 4194304 bytes") { Limits = Small },
        new("A zstd bomb", Stored([.. Plain, .. new byte[32 << 20]], content => Compressed.Zstd(content, 3)), "unpack to over 4194304 bytes") { Limits = Small },
        new("A bomb of gzip members", Stored(Plain, _ => Repeat(Compressed.Gzip(new byte[1 << 20]), 40)), "unpack to over 4194304 bytes") { Limits = Small },
        new("A bomb of zstd frames", Stored(Plain, _ => Repeat(Compressed.Zstd(new byte[1 << 20], 3), 40)), "unpack to over 4194304 bytes") { Limits = Small },
        new("A bomb of several layers", (layout, _) => Enumerable.Range(0, 4).Aggregate(new LayoutBuilder(layout), (images, _) => images.Layer([.. Plain, .. new byte[2 << 20]])).Build(), "unpack to over 4194304 bytes") { Limits = Small },
        Harmless("Ten thousand empty gzip members", Stored(Plain, content => [.. Compressed.Gzip(content), .. Repeat(Compressed.Gzip([]), 10_000)])),
        Harmless("Ten thousand empty zstd frames", Stored(Plain, content => [.. Compressed.Zstd(content, 3), .. Repeat(Compressed.Zstd([], 3), 10_000)])),
        Harmless("Nested gzip members are one archive", Stored(Plain, content => [.. Compressed.Gzip(content[..700]), .. Compressed.Gzip(content[700..])])),
        Harmless("Trailing garbage behind gzip is nothing", Stored(Plain, content => [.. Compressed.Gzip(content), .. "garbage behind the end"u8])),
        new("Trailing garbage behind zstd", Stored(Plain, content => [.. Compressed.Zstd(content, 3), .. "garbage behind the end"u8]), "not compressed as it says"),
        new("Gzip inside gzip", Stored(Compressed.Gzip(Plain), Compressed.Gzip), ""),
        // Magic, a header without single segment, and the exponent of a window of 2 GiB.
        new("A zstd window of gigabytes", Stored(Plain, _ => [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, .. new byte[64]]), "not compressed as it says"),
        new("A zstd segment of exabytes", Stored(Plain, _ => [0x28, 0xb5, 0x2f, 0xfd, 0xe0, .. Enumerable.Repeat((byte)0x7f, 8), .. new byte[64]]), "not compressed as it says"),
        new("A zstd frame that asks for a dictionary", Stored(Plain, _ => [0x28, 0xb5, 0x2f, 0xfd, 0x21, 0x07, 0x05, 0x01, 0x00, 0x00, .. new byte[64]]), "not compressed as it says"),
        new("Nothing but a skippable frame of 4 GiB", Stored(Plain, _ => [0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff, .. new byte[64]]), ""),
        new("A gzip header and nothing behind", Stored(Plain, _ => [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]), ""),
        new("A gzip checksum that is wrong", Stored(Plain, content => Flip(Compressed.Gzip(content), -6)), "not compressed as it says"),
        new("A zstd checksum that is wrong", Stored(Plain, content => Flip(Compressed.Zstd(content, 3), -2)), "not compressed as it says"),
        new("Text in place of a layer", Stored(Plain, _ => [.. Enumerable.Repeat((byte)'x', 2000)]), "not a number"),
        new("An empty layer", Stored(Plain, _ => []), ""),
    ];

    private static HostileImage Harmless(string name, Action<string, string> write) =>
        new(name, write, null) { Check = tree => Assert.Contains("/hello", tree.Keys) };

    private static Action<string, string> Stored(byte[] archive, Func<byte[], byte[]> store) => (layout, _) =>
        new LayoutBuilder(layout).Layer(archive, gzip: false, change: store).Build();

    private static byte[] Repeat(byte[] part, int times) => [.. Enumerable.Repeat(part, times).SelectMany(bytes => bytes)];

    private static byte[] Flip(byte[] content, int fromEnd)
    {
        content[content.Length + fromEnd] ^= 0x10;
        return content;
    }
}
