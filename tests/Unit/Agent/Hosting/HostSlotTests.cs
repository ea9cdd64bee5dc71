using Ravel.Agent.Hosting;
using Ravel.Linux.Files;

namespace Ravel.Unit.Agent.Hosting;

public sealed class HostSlotTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("slot-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public async Task First_data_directory_gets_slot_0_and_the_names_that_follow_from_it()
    {
        using var slot = await Claim("a");
        Assert.Equal(0, slot.Number);
        Assert.Equal(Path.Combine(_root, "run", "0"), slot.RunDirectory);
        Assert.True(Directory.Exists(slot.RunDirectory));
        Assert.Equal("ravel/0", slot.Cgroup);
        Assert.Equal("ravel_0", slot.NftTable);
        Assert.Equal("rv0-7", slot.TapName(7));
        Assert.Equal("100.64.0.1", slot.Addresses.GatewayV4.ToString());
    }

    [Fact]
    public async Task Data_directories_side_by_side_get_different_slots()
    {
        using var a = await Claim("a");
        using var b = await Claim("b");
        Assert.Equal((0, 1), (a.Number, b.Number));
        Assert.NotEqual(a.Addresses.RangeV6, b.Addresses.RangeV6);
    }

    [Fact]
    public async Task Claims_at_the_same_time_get_different_slots()
    {
        var slots = await Task.WhenAll(Enumerable.Range(0, HostSlot.Count).Select(i => Task.Run(() => Claim($"d{i}"))));
        Assert.Equal(HostSlot.Count, slots.Select(s => s.Number).Distinct().Count());
        foreach (var slot in slots)
            slot.Dispose();
    }

    [Fact]
    public async Task Second_raveld_on_a_data_directory_is_refused_in_one_line_that_names_it()
    {
        using var first = await Claim("a");
        var refusal = await Assert.ThrowsAsync<HostSlotException>(() => Claim("a"));
        Assert.Contains(Path.Combine(_root, "a"), refusal.Message, StringComparison.Ordinal);
        Assert.Contains($"pid {Environment.ProcessId}", refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refusal.Message);
    }

    [Fact]
    public async Task Lock_that_a_killed_raveld_has_not_let_go_of_yet_is_waited_for()
    {
        (await Claim("a")).Dispose();
        var dying = FileLock.TryAcquire(Path.Combine(_root, "a", "raveld.lock"))!;
        dying.Write("2147483647"u8); // above the largest pid there can be
        var claim = Claim("a");
        Assert.False(claim.IsCompleted);
        dying.Dispose();
        using var slot = await claim;
        Assert.Equal(0, slot.Number);
    }

    [Fact]
    public async Task Second_raveld_is_refused_through_a_symbolic_link_too()
    {
        using var first = await Claim("a");
        Directory.CreateSymbolicLink(Path.Combine(_root, "link"), Path.Combine(_root, "a"));
        await Assert.ThrowsAsync<HostSlotException>(() => Claim("link"));
    }

    [Fact]
    public async Task Killed_raveld_gets_its_slot_again_while_a_lower_one_is_free()
    {
        var a = await Claim("a");
        var b = await Claim("b");
        await a.ReleaseAsync(TimeProvider.System);
        b.Dispose(); // what the kernel does to the lock of a killed process
        using var again = await Claim("b");
        Assert.Equal(1, again.Number);
        Assert.Equal(b.Addresses, again.Addresses);
    }

    [Fact]
    public async Task Slot_of_a_stopped_raveld_with_instances_is_not_given_away()
    {
        (await Claim("a")).Dispose();
        using var b = await Claim("b");
        Assert.Equal(1, b.Number);
    }

    [Fact]
    public async Task Released_slot_leaves_nothing_and_is_taken_by_the_next()
    {
        var a = await Claim("a");
        await a.ReleaseAsync(TimeProvider.System);
        Assert.False(Directory.Exists(Path.Combine(_root, "run")));
        using var b = await Claim("b");
        Assert.Equal(0, b.Number);
    }

    [Fact]
    public async Task Claims_and_releases_at_the_same_time_never_share_a_slot()
    {
        var held = new System.Collections.Concurrent.ConcurrentDictionary<int, string>();
        await Task.WhenAll(Enumerable.Range(0, 8).Select(i => Task.Run(async () =>
        {
            for (var round = 0; round < 10; round++)
            {
                var slot = await Claim($"d{i}");
                Assert.True(held.TryAdd(slot.Number, $"d{i}"));
                Assert.True(held.TryRemove(slot.Number, out _));
                await slot.ReleaseAsync(TimeProvider.System);
            }
        })));
        Assert.False(Directory.Exists(Path.Combine(_root, "run")));
    }

    [Fact]
    public async Task Slot_whose_data_directory_is_gone_is_free()
    {
        (await Claim("a")).Dispose();
        Directory.Delete(Path.Combine(_root, "a"), recursive: true);
        using var b = await Claim("b");
        Assert.Equal(0, b.Number);
    }

    [Fact]
    public async Task Slot_is_taken_again_after_a_reboot_when_free()
    {
        (await Claim("a")).Dispose();
        (await Claim("b")).Dispose();
        Directory.Delete(Path.Combine(_root, "run"), recursive: true);
        using var b = await Claim("b");
        using var a = await Claim("a");
        Assert.Equal((0, 1), (a.Number, b.Number));
    }

    [Fact]
    public async Task Another_slot_is_taken_after_a_reboot_when_the_old_one_is_not_free()
    {
        var before = await Claim("a");
        before.Dispose();
        Directory.Delete(Path.Combine(_root, "run"), recursive: true);
        using var b = await Claim("b");
        using var a = await Claim("a");
        Assert.Equal((1, 0), (a.Number, b.Number));
        Assert.Equal(before.Addresses.Cluster, a.Addresses.Cluster);
    }

    [Fact]
    public async Task Claim_that_crashed_before_the_slot_file_leaves_the_slot_free()
    {
        Directory.CreateDirectory(Path.Combine(_root, "run", "0"));
        using var a = await Claim("a");
        Assert.Equal(0, a.Number);
    }

    [Fact]
    public async Task Sixty_fifth_data_directory_is_refused_with_the_remedy()
    {
        for (var i = 0; i < HostSlot.Count; i++)
            (await Claim($"d{i}")).Dispose();
        var refusal = await Assert.ThrowsAsync<HostSlotException>(() => Claim("more"));
        Assert.Contains("ravel down", refusal.Message, StringComparison.Ordinal);

        // The refused one holds nothing: it can claim as soon as a slot is free.
        Directory.Delete(Path.Combine(_root, "d5"), recursive: true);
        using var slot = await Claim("more");
        Assert.Equal(5, slot.Number);
    }

    [Fact]
    public async Task Damaged_record_is_reported_with_its_path()
    {
        (await Claim("a")).Dispose();
        File.WriteAllText(Path.Combine(_root, "a", "slot.json"), """{"Slot":99,"Cluster":1}""");
        var refusal = await Assert.ThrowsAsync<HostSlotException>(() => Claim("a"));
        Assert.Contains("slot.json", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Slots_of_killed_ravelds_are_swept_and_those_that_run_are_kept()
    {
        (await Claim("killed")).Dispose();
        using var running = await Claim("running");
        (await Claim("busy")).Dispose();
        (await Claim("deleted")).Dispose();
        Directory.Delete(Path.Combine(_root, "deleted"), recursive: true);
        Directory.CreateDirectory(Path.Combine(_root, "run", "9"));
        using var sweeper = await Claim("running-too");
        var asked = new List<int>();

        await sweeper.SweepOthersAsync(TimeProvider.System, slot =>
        {
            asked.Add(slot.Number);
            return Task.FromResult(slot.Number != 2);
        });

        // The deleted one's number, 3, went to the sweeper.
        Assert.Equal([0, 2, 9], asked);
        Assert.Equal(
            ["1", "2", "3"],
            Directory.EnumerateDirectories(Path.Combine(_root, "run")).Select(path => Path.GetFileName(path)).Order());
        using var again = await Claim("killed");
        Assert.Equal(0, again.Number);
        using var busy = await Claim("busy");
        Assert.Equal(2, busy.Number);
    }

    private Task<HostSlot> Claim(string data) => HostSlot.ClaimAsync(
        new HostSlotOptions { DataDirectory = Path.Combine(_root, data), BaseDirectory = Path.Combine(_root, "run") },
        TimeProvider.System);
}
