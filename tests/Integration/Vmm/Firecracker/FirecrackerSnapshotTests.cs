using System.Text;
using System.Text.Json.Nodes;
using Ravel.Testing.Vmm;
using Ravel.Vmm;

namespace Ravel.Integration.Vmm.Firecracker;

/// <summary>Snapshots: what Firecracker leaves to the caller (docs/snapshotting).</summary>
public sealed class FirecrackerSnapshotTests : IAsyncLifetime
{
    private const int PageBytes = 4096;

    private readonly FakeFirecrackerHarness _harness = new(isJailed: true);

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => _harness.DisposeAsync();

    [Fact]
    public async Task Changes_are_saved_onto_a_copy_of_the_snapshot_before()
    {
        var spec = _harness.NewSpec() with { TracksMemory = true };
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);
        await vmm.PauseAsync(_harness.Deadline);
        var first = await vmm.SnapshotAsync(spec.RunDirectory + "-1", _harness.Deadline);
        var second = await vmm.SnapshotChangesAsync(spec.RunDirectory + "-2", first, _harness.Deadline);

        Assert.Equal(["memory", "saved 1", ""], Pages(first, 3));
        Assert.Equal(["memory", "saved 1", "saved 2"], Pages(second, 3));

        // The account is against the second now: onto the first, everything is written.
        var third = await vmm.SnapshotChangesAsync(spec.RunDirectory + "-3", first, _harness.Deadline);
        Assert.Equal(["memory", "", "", "saved 3"], Pages(third, 4));

        // A restored VM counts from what it was restored from, and whoever adopts it goes on with that.
        await vmm.KillAsync(_harness.Deadline);
        await _harness.Driver.PurgeAsync(spec.Id, spec.RunDirectory, _harness.Deadline);
        var restored = await _harness.Driver.LaunchAsync(spec with { Restore = second, IsPausedAfterRestore = true }, _harness.Deadline);
        await restored.DisposeAsync();
        await using var found = await _harness.Driver.RecoverAsync(restored.Record, _harness.Deadline);
        var fourth = await found!.SnapshotChangesAsync(spec.RunDirectory + "-4", second, _harness.Deadline);
        Assert.Equal(["memory", "saved 1", "saved 2", "saved 3"], Pages(fourth, 4));
        Assert.Equal(["memory", "saved 1", "saved 2", ""], Pages(second, 4));
    }

    [Fact]
    public async Task A_VM_that_does_not_track_its_memory_saves_all_of_it()
    {
        var spec = _harness.NewSpec();
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);
        await vmm.PauseAsync(_harness.Deadline);
        var first = await vmm.SnapshotAsync(spec.RunDirectory + "-1", _harness.Deadline);

        var second = await vmm.SnapshotChangesAsync(spec.RunDirectory + "-2", first, _harness.Deadline);

        Assert.Equal(["memory", "", "saved 2"], Pages(second, 3));
    }

    [Fact]
    public async Task A_snapshot_that_is_damaged_or_does_not_fit_is_refused_before_anything_is_made()
    {
        var (spec, snapshot) = await SaveAsync();
        var memory = Path.Combine(snapshot.Directory, "snapshot.memory");

        await RefusedAsync(spec with { MemoryMib = 512 }, snapshot, "512");
        await RefusedAsync(spec with { Drives = [.. spec.Drives.Skip(1)] }, snapshot, "drives");
        await RefusedAsync(spec with { HasBalloon = true }, snapshot, "without a balloon");
        await RefusedAsync(spec, snapshot with { DriverVersion = "1.16.0" }, "1.16.0");
        await using (var other = new FakeFirecrackerHarness(isJailed: true, format: "12.0.0"))
        {
            var error = await Assert.ThrowsAnyAsync<VmmException>(
                () => other.Driver.LaunchAsync(other.NewSpec() with { Drives = spec.Drives, Restore = snapshot }, _harness.Deadline));
            Assert.Contains("has format 11.0.0", error.Message);
        }

        await using (var file = File.OpenWrite(memory))
        {
            file.Position = 100 * PageBytes;
            file.WriteByte(1);
        }
        await RefusedAsync(spec, snapshot, "damaged");
        await using (var file = File.OpenWrite(memory))
            file.SetLength(PageBytes);
        await RefusedAsync(spec, snapshot, "4096 bytes");
        File.Delete(Path.Combine(snapshot.Directory, "seal.json"));
        await RefusedAsync(spec, snapshot, "incomplete");
    }

    [Fact]
    public async Task A_restored_VM_has_the_limits_of_today()
    {
        await using var plain = new FakeFirecrackerHarness(isJailed: false);
        var spec = plain.NewSpec();
        spec = spec with { Limits = new VmLimits { Disk = new RateLimit(1000, 10) } };
        await using (var vmm = await plain.Driver.LaunchAsync(spec, _harness.Deadline))
        {
            Assert.Equal("1000", (await BandwidthAsync(spec))["size"]!.ToString());
            await vmm.PauseAsync(_harness.Deadline);
            await vmm.SnapshotAsync(spec.RunDirectory + "-saved", _harness.Deadline);
        }
        await plain.Driver.PurgeAsync(spec.Id, spec.RunDirectory, _harness.Deadline);

        var saved = new VmSnapshot(spec.RunDirectory + "-saved", "firecracker", "1.17.0");
        var limited = spec with { Limits = new VmLimits(), Restore = saved };
        await using var restored = await plain.Driver.LaunchAsync(limited, _harness.Deadline);

        Assert.Equal("0", (await BandwidthAsync(spec))["size"]!.ToString());
    }

    private async Task<JsonNode> BandwidthAsync(VmSpec spec)
    {
        using var client = FirecrackerDriverTests.Client(spec);
        var config = JsonNode.Parse(await client.GetStringAsync("/vm/config", _harness.Deadline))!;
        return config["drives"]![0]!["rate_limiter"]!["bandwidth"]!;
    }

    private async Task<(VmSpec Spec, VmSnapshot Snapshot)> SaveAsync()
    {
        var spec = _harness.NewSpec();
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);
        await vmm.PauseAsync(_harness.Deadline);
        var snapshot = await vmm.SnapshotAsync(spec.RunDirectory + "-saved", _harness.Deadline);
        await vmm.KillAsync(_harness.Deadline);
        await _harness.Driver.PurgeAsync(spec.Id, spec.RunDirectory, _harness.Deadline);
        return (spec, snapshot);
    }

    private async Task RefusedAsync(VmSpec spec, VmSnapshot snapshot, string words)
    {
        var error = await Assert.ThrowsAnyAsync<VmmException>(() => _harness.Driver.LaunchAsync(spec with { Restore = snapshot }, _harness.Deadline));
        Assert.Contains(words, error.Message);
        Assert.Empty(_harness.Leftovers(spec));
    }

    /// <summary>The text each page of the saved memory begins with.</summary>
    private static string[] Pages(VmSnapshot snapshot, int count)
    {
        var bytes = new byte[count * PageBytes];
        using var memory = File.OpenRead(Path.Combine(snapshot.Directory, "snapshot.memory"));
        memory.ReadExactly(bytes);
        return [.. Enumerable.Range(0, count).Select(page => Encoding.ASCII.GetString(bytes, page * PageBytes, 16).TrimEnd('\0'))];
    }
}
