using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using CsCheck;
using Ravel.Linux.Network;

namespace Ravel.Unit.Linux.Network;

public sealed class NetlinkMessageTests
{
    [Fact]
    public void Message_is_laid_out_as_netlink_wants_it()
    {
        var message = NetlinkMessage.Create(16, 5, new IfInfoMsg { Index = 7, Flags = 1, Change = 1 })
            .Add(3, "ab")
            .Add(4, 1500u)
            .Nest(26, spec => spec.Nest(10, inet6 => inet6.Add(8, (byte)1)));
        message.Finish(9);

        // Little-endian, as all architectures Ravel runs on.
        byte[] expected =
        [
            64, 0, 0, 0, 16, 0, 5, 0, 9, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
            0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, // ifinfomsg
            7, 0, 3, 0, (byte)'a', (byte)'b', 0, 0, // name, padded
            8, 0, 4, 0, 0xdc, 5, 0, 0, // MTU
            16, 0, 26, 0, 12, 0, 10, 0, 5, 0, 8, 0, 1, 0, 0, 0, // nested
        ];
        Assert.Equal(expected, message.Bytes.ToArray());
    }

    [Fact]
    public void Attributes_are_read_as_they_were_written() =>
        Gen.Select(Gen.UShort[1, 0x3fff], Gen.Byte.Array[0, 300]).Array[0, 20].Sample(attributes =>
        {
            var message = NetlinkMessage.Create(1, 1, new NfGenMsg());
            foreach (var (type, value) in attributes)
                message.Add(type, value);
            message.Finish(1);
            var header = MemoryMarshal.Read<NlMsgHdr>(message.Bytes);
            Assert.Equal(message.Bytes.Length, (int)header.Len);

            var walk = new NetlinkAttributes(message.Bytes[(Unsafe.SizeOf<NlMsgHdr>() + Unsafe.SizeOf<NfGenMsg>())..]);
            foreach (var (type, value) in attributes)
            {
                Assert.True(walk.Next());
                Assert.Equal(type, walk.Type);
                Assert.Equal(value, walk.Value.ToArray());
            }
            Assert.False(walk.Next());
        });

    [Fact]
    public void Garbage_ends_the_walk() =>
        Gen.Byte.Array[0, 200].Sample(bytes =>
        {
            var walk = new NetlinkAttributes(bytes);
            var steps = 0;
            while (walk.Next())
                steps++;
            Assert.True(steps <= bytes.Length / 4);
        });
}
