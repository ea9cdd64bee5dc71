using CsCheck;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Testing.Link;

namespace Ravel.Unit.Link;

public sealed class FrameDecoderTests
{
    private static readonly Gen<RawFrame> AnyFrame = Gen.Select(
        Gen.Int[1, 6], Gen.Int[0, 1], Gen.UInt, Gen.ULong, Gen.Byte.Array[0, 300],
        (type, flags, stream, offset, payload) =>
            new RawFrame(new FrameHeader((FrameType)type, (FrameFlags)flags, stream, offset, payload.Length), payload));

    [Fact]
    public void Frames_come_out_as_they_went_in_however_the_bytes_are_cut()
    {
        Gen.Select(AnyFrame.Array[1, 30], Gen.Int[1, 500]).Sample((frames, step) =>
        {
            var bytes = frames.SelectMany(f => RawGuest.Frame(f.Header.Type, f.Header.Flags, f.Header.Stream, f.Header.Offset, f.Payload)).ToArray();
            var decoder = new FrameDecoder();
            var got = new List<RawFrame>();
            for (var at = 0; at < bytes.Length; at += step)
            {
                var part = bytes.AsSpan(at, Math.Min(step, bytes.Length - at));
                part.CopyTo(decoder.Free.Span);
                decoder.Advance(part.Length);
                while (decoder.TryRead(out var header, out var payload) == DecodeStatus.Frame)
                    got.Add(new RawFrame(header, payload.ToArray()));
            }
            Assert.True(decoder.IsEmpty);
            Assert.Equal(frames.Select(f => f.Header), got.Select(f => f.Header));
            Assert.Equal(frames.SelectMany(f => f.Payload), got.SelectMany(f => f.Payload));
        });
    }

    [Fact]
    public void The_crc_is_the_one_of_ieee_over_the_header_with_a_zero_field_and_the_payload()
    {
        var frame = RawGuest.Frame(FrameType.Data, FrameFlags.End, 0x01020304, 0x05060708090a0b0c, "123456789"u8);
        var crc = 0xffffffffu;
        foreach (var b in (byte[])[.. frame[..20], 0, 0, 0, 0, .. frame[24..]])
        {
            crc ^= b;
            for (var i = 0; i < 8; i++)
                crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
        }
        Assert.Equal(~crc, BitConverter.ToUInt32(frame, 20));
        Assert.Equal("0900000002010000040302010c0b0a0908070605", Convert.ToHexStringLower(frame.AsSpan(0, 20)));
    }

    [Fact]
    public void A_preamble_is_found_in_whatever_lies_before_it()
    {
        Gen.Select(Gen.Byte.Array[0, 2000], Gen.Byte.Array[16], Gen.Int[1, 100]).Sample((junk, nonce, step) =>
        {
            byte[] bytes = [.. junk, .. LinkProtocol.Magic[..5], .. LinkProtocol.Magic, .. nonce, 1, 2, 3];
            var decoder = new FrameDecoder();
            var found = new byte[16];
            var isFound = false;
            for (var at = 0; at < bytes.Length; at += step)
            {
                var part = bytes.AsSpan(at, Math.Min(step, bytes.Length - at));
                part.CopyTo(decoder.Free.Span);
                decoder.Advance(part.Length);
                isFound = isFound || decoder.TryReadPreamble(found);
            }
            Assert.True(isFound);
            Assert.Equal(nonce, found);
        });
    }

    [Fact]
    public void A_ring_is_a_queue_that_never_grows_past_its_limit()
    {
        Gen.Select(Gen.Int[1, 20_000], Gen.Int[0, 9000].Array[1, 60], Gen.Int).Sample((limit, sizes, seed) =>
        {
            var random = new Random(seed);
            var ring = new ByteRing(limit);
            var model = new Queue<byte>();
            foreach (var size in sizes)
            {
                var data = new byte[Math.Min(size, ring.Room)];
                random.NextBytes(data);
                ring.Write(data);
                foreach (var b in data)
                    model.Enqueue(b);
                Assert.Equal(model.Count, ring.Count);
                var skip = random.Next(0, ring.Count + 1);
                var peeked = new byte[random.Next(0, 5000)];
                var length = ring.Peek(skip, peeked);
                Assert.Equal(model.Skip(skip).Take(peeked.Length), peeked[..length]);
                var drop = random.Next(0, ring.Count + 1);
                ring.Discard(drop);
                for (var i = 0; i < drop; i++)
                    model.Dequeue();
                Assert.Equal(model.Take(ring.Front.Length), ring.Front.ToArray());
            }
            Assert.Throws<InvalidOperationException>(() => ring.Write(new byte[ring.Room + 1]));
        });
    }
}
