using System.Net;
using System.Net.NetworkInformation;
using CsCheck;
using Ravel.Agent.Hosting;

namespace Ravel.Unit.Agent.Hosting;

public sealed class SlotAddressesTests
{
    private static readonly Gen<SlotAddresses> Plans =
        Gen.Select(Gen.Int[0, 63], Gen.Int[1, 0xffffff], Gen.UShort, (slot, cluster, node) => new SlotAddresses(slot, cluster, node));

    private static readonly Gen<int> Indexes = Gen.Int[1, SlotAddresses.MaxAddressIndex];

    [Fact]
    public void Addresses_are_laid_out_as_designed()
    {
        var plan = new SlotAddresses(3, 0xabcdef, 0x1234);
        Assert.Equal("100.67.0.0/16", plan.RangeV4);
        Assert.Equal("100.67.0.1", plan.GatewayV4.ToString());
        Assert.Equal("100.67.0.2", plan.GuestV4(1).ToString());
        Assert.Equal("100.67.255.254", plan.GuestV4(SlotAddresses.MaxAddressIndex).ToString());
        Assert.Equal("fdab:cdef:1234::/48", plan.RangeV6);
        Assert.Equal("fdab:cdef:1234:0:5::7", plan.GuestV6(5, 7).ToString());
        Assert.Equal("02:52:56:03:01:02", plan.GuestMac(0x102));
        Assert.Equal("fe80::52:56ff:fe03:102", plan.GuestLinkLocal(0x102).ToString());
    }

    [Fact]
    public void Guests_lie_in_their_slots_ranges_and_are_never_the_gateway() =>
        Gen.Select(Plans, Indexes, Gen.Int[1, int.MaxValue]).Sample((plan, index, network) =>
        {
            var v4 = plan.GuestV4(index);
            Assert.True(IPNetwork.Parse(plan.RangeV4).Contains(v4));
            Assert.True(IPNetwork.Parse("100.64.0.0/10").Contains(v4));
            Assert.NotEqual(plan.GatewayV4, v4);
            Assert.True(IPNetwork.Parse(plan.RangeV6).Contains(plan.GuestV6(network, index)));
        });

    [Fact]
    public void Different_guests_have_different_addresses() =>
        Gen.Select(Plans, Indexes, Indexes, Gen.Int[1, int.MaxValue]).Sample((plan, a, b, network) =>
        {
            Assert.Equal(a == b, plan.GuestV4(a).Equals(plan.GuestV4(b)));
            Assert.Equal(a == b, plan.GuestV6(network, a).Equals(plan.GuestV6(network, b)));
            Assert.Equal(a == b, plan.GuestMac(a) == plan.GuestMac(b));
            Assert.Equal(a == b, plan.GuestLinkLocal(a).Equals(plan.GuestLinkLocal(b)));
        });

    [Fact]
    public void Networks_do_not_overlap() =>
        Gen.Select(Plans, Indexes, Gen.Int[1, int.MaxValue], Gen.Int[1, int.MaxValue]).Sample((plan, index, a, b) =>
            Assert.Equal(a == b, plan.GuestV6(a, index).Equals(plan.GuestV6(b, index))));

    [Fact]
    public void Mac_is_unicast_and_locally_administered() =>
        Gen.Select(Plans, Indexes).Sample((plan, index) =>
        {
            var first = PhysicalAddress.Parse(plan.GuestMac(index)).GetAddressBytes()[0];
            Assert.Equal(2, first & 3);
        });

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(SlotAddresses.MaxAddressIndex + 1)]
    public void Index_out_of_range_is_refused(int index) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new SlotAddresses(0, 1, 0).GuestV4(index));
}
