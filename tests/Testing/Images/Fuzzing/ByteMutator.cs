using System.Buffers.Binary;

namespace Ravel.Testing.Images.Fuzzing;

/// <summary>Changes bytes without knowing what they mean: flips, splices, cuts, repeats, magic numbers and given words.</summary>
internal static class ByteMutator
{
    private static readonly long[] Edges =
    [
        0, 1, -1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 511, 512, 513, 1023, 1024, 4095, 4096, 4097, 32767, 32768, 65535,
        65536, int.MaxValue, int.MinValue, uint.MaxValue, (long)uint.MaxValue + 1, long.MaxValue, long.MinValue,
    ];

    /// <summary>A number that is often a boundary of something.</summary>
    public static long Edge(Random random) => Edges[random.Next(Edges.Length)];

    public static T Pick<T>(Random random, IReadOnlyList<T> list) => list[random.Next(list.Count)];

    public static byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool, IReadOnlyList<byte[]> words)
    {
        var bytes = new List<byte>(input);
        for (var changes = 1 << random.Next(4); changes > 0; changes--)
            Change(random, bytes, pool, words);
        return [.. bytes];
    }

    private static void Change(Random random, List<byte> bytes, IReadOnlyList<byte[]> pool, IReadOnlyList<byte[]> words)
    {
        if (bytes.Count == 0)
        {
            bytes.AddRange(Pick(random, pool));
            return;
        }
        var at = random.Next(bytes.Count);
        var length = Math.Min(bytes.Count - at, random.Next(4) == 0 ? random.Next(bytes.Count + 1) : random.Next(33));
        switch (random.Next(10))
        {
            case 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1:
                bytes[at] = (byte)random.Next(256);
                break;
            case 2:
                bytes.RemoveRange(at, length);
                break;
            case 3:
                bytes.InsertRange(random.Next(bytes.Count + 1), bytes.GetRange(at, length));
                break;
            case 4:
                Overwrite(bytes, at, bytes.GetRange(random.Next(bytes.Count - length + 1), length));
                break;
            case 5:
                var other = Pick(random, pool);
                var from = random.Next(other.Length + 1);
                bytes.InsertRange(at, other.AsSpan(from, Math.Min(other.Length - from, random.Next(1025))).ToArray());
                break;
            case 6 when words.Count > 0:
                bytes.InsertRange(at, Pick(random, words));
                break;
            case 7 when words.Count > 0:
                Overwrite(bytes, at, Pick(random, words));
                break;
            case 8:
                bytes.RemoveRange(at, bytes.Count - at);
                break;
            default:
                var number = new byte[8];
                if (random.Next(2) == 0)
                    BinaryPrimitives.WriteInt64LittleEndian(number, Edge(random));
                else
                    BinaryPrimitives.WriteInt64BigEndian(number, Edge(random));
                var width = 1 << random.Next(4);
                Overwrite(bytes, at, random.Next(2) == 0 ? number[..width] : number[^width..]);
                break;
        }
    }

    private static void Overwrite(List<byte> bytes, int at, IReadOnlyList<byte> by)
    {
        for (var i = 0; i < by.Count && at + i < bytes.Count; i++)
            bytes[at + i] = by[i];
    }
}
