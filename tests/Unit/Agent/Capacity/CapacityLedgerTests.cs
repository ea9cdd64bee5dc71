using Ravel.Agent.Capacity;
using Ravel.Contracts.Ids;

namespace Ravel.Unit.Agent.Capacity;

public sealed class CapacityLedgerTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private readonly CapacityLedger _ledger = new(new NodeShare(4, 1000, 100, 3));
    private readonly MachineId _a = MachineId.New();
    private readonly MachineId _b = MachineId.New();

    [Theory]
    [InlineData(5, 1, 1, 1, "CPUs")]
    [InlineData(1, 1001, 1, 1, "memory")]
    [InlineData(1, 1, 101, 1, "disk")]
    [InlineData(1, 1, 1, 4, "slot")]
    public void What_is_missing_is_named(int cpus, long memory, long disk, int machines, string word)
    {
        Assert.False(_ledger.TryHold(_a, new NodeShare(cpus, memory, disk, machines), null, Now, out var shortage));
        Assert.Contains(word, shortage, StringComparison.Ordinal);
        Assert.Equal(default, _ledger.Allocated(Now));
    }

    [Fact]
    public void A_machine_may_change_its_share_within_what_is_free_and_its_own()
    {
        Assert.True(_ledger.TryHold(_a, new NodeShare(3, 500, 10, 1), null, Now, out _));
        Assert.True(_ledger.TryHold(_a, new NodeShare(4, 500, 10, 1), null, Now, out _));
        Assert.False(_ledger.TryHold(_b, new NodeShare(1, 1, 1, 1), null, Now, out _));
        Assert.True(_ledger.TryHold(_a, new NodeShare(1, 500, 10, 1), null, Now, out _));
        Assert.True(_ledger.TryHold(_b, new NodeShare(3, 500, 10, 1), null, Now, out _));
    }

    [Fact]
    public void A_smaller_share_fits_even_when_too_much_is_promised()
    {
        _ledger.Set(_a, new NodeShare(9, 5000, 10, 1));
        Assert.True(_ledger.TryHold(_a, new NodeShare(8, 5000, 10, 1), null, Now, out _));
    }

    [Fact]
    public void A_reservation_counts_until_it_expires_and_not_against_its_machine()
    {
        var reservation = new CapacityReservation("r", _a, 1, new NodeShare(4, 1, 1, 1), Now + TimeSpan.FromMinutes(1));
        Assert.True(_ledger.TryReserve(reservation, Now, out _));
        Assert.False(_ledger.TryHold(_b, new NodeShare(1, 1, 1, 1), null, Now, out _));
        Assert.True(_ledger.TryHold(_a, new NodeShare(4, 1, 1, 1), "r", Now, out _));
        _ledger.Remove(_a);
        Assert.True(_ledger.TryHold(_b, new NodeShare(1, 1, 1, 1), null, Now + TimeSpan.FromMinutes(1), out _));
    }

    [Fact]
    public void A_reservation_for_a_machine_that_is_here_is_for_what_it_will_be_not_beside_what_it_has()
    {
        Assert.True(_ledger.TryHold(_a, new NodeShare(2, 100, 60, 1), null, Now, out _));
        var reservation = new CapacityReservation("r", _a, 2, new NodeShare(3, 50, 60, 1), Now + TimeSpan.FromMinutes(1));
        Assert.True(_ledger.TryReserve(reservation, Now, out _));
        Assert.Equal(new NodeShare(3, 100, 60, 1), _ledger.Allocated(Now));
    }

    [Fact]
    public void A_disk_that_others_fill_takes_nothing_from_whoever_has_it_and_gives_nothing_to_the_next()
    {
        var disk = 100L;
        var ledger = new CapacityLedger(new NodeShare(4, 1000, 0, 9), () => disk);
        Assert.True(ledger.TryHold(_a, new NodeShare(1, 100, 60, 1), null, Now, out _));
        disk = 50;
        Assert.False(ledger.TryHold(_b, new NodeShare(1, 100, 1, 1), null, Now, out var shortage));
        Assert.Equal("1 MiB of disk are wanted, 0 are not promised to others", shortage);
        Assert.False(ledger.TryHold(VolumeId.New(), 1, Now, out _));
        // A start of what is here needs no more of the disk.
        Assert.True(ledger.TryHold(_a, new NodeShare(2, 100, 60, 1), null, Now, out _));
        Assert.True(ledger.TryReserve(new CapacityReservation("r", _a, 2, new NodeShare(3, 100, 60, 1), Now + TimeSpan.FromMinutes(1)), Now, out _));
        disk = 61;
        Assert.True(ledger.TryHold(_b, new NodeShare(1, 100, 1, 1), null, Now, out _));
    }

    [Theory]
    [InlineData(1000, 0, 100, 1, 900)]
    // What machines have written was theirs before.
    [InlineData(600, 400, 100, 1, 900)]
    [InlineData(50, 0, 100, 1, 0)]
    [InlineData(600, 400, 100, 2, 1800)]
    public void What_may_be_promised_is_what_is_free_and_what_was_promised_and_written_without_the_reserve(
        long free, long owned, long reserve, double overcommit, long total) =>
        Assert.Equal(total, DiskRoom.TotalMib(free, owned, reserve, overcommit));

    [Theory]
    [InlineData(100_000, 1024)]
    [InlineData(1_000, 50)]
    public void The_reserve_is_a_gigabyte_and_on_a_small_disk_less(long size, long reserve) => Assert.Equal(reserve, DiskRoom.DefaultReserveMib(size));

    [Fact]
    public void The_memory_of_the_host_is_read_from_its_kernel() =>
        Assert.Equal(24_000, HostCapacity.TotalMemoryMib(["MemTotal:       24576000 kB", "MemFree: 1 kB"]));
}
