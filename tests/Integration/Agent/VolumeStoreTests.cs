using Ravel.Agent.Capacity;
using Ravel.Agent.Disks;
using Ravel.Agent.Guests;
using Ravel.Contracts.Ids;
using Ravel.Linux.Processes;
using Ravel.Testing.Needs;

namespace Ravel.Integration.Agent;

public sealed class VolumeStoreTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-volumes-").FullName;
    private readonly VolumeId _volume = VolumeId.New();
    private readonly MachineId _machine = MachineId.New();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public VolumeStoreTests() => Need.Program("mkfs.ext4");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task A_volume_is_a_sparse_file_system_whose_room_is_kept()
    {
        var (store, ledger) = Open();
        var made = await store.PutAsync(_volume, 64, null);
        Assert.Equal(64, made.Mib);
        Assert.InRange(made.UsedMib, 0, 16);
        await CommandRunner.RunCheckedAsync("e2fsck", ["-fn", store.PathOf(_volume)]);
        Assert.Equal(64, ledger.Allocated(DateTimeOffset.UnixEpoch).DiskMib);

        await store.PutAsync(_volume, 100, null);
        Assert.Equal(100, Assert.Single(store.List()).Mib);
        var refused = await Assert.ThrowsAsync<InstanceException>(() => store.PutAsync(_volume, 2000, null));
        Assert.Equal("insufficient-capacity", refused.Code);
        Assert.Equal("invalid-request", (await Assert.ThrowsAsync<InstanceException>(() => store.PutAsync(_volume, 50, null))).Code);
        Assert.Equal(100, Open().Ledger.Allocated(DateTimeOffset.UnixEpoch).DiskMib);
    }

    [Fact]
    public async Task One_machine_holds_a_volume_and_it_stays_as_long()
    {
        var (store, ledger) = Open();
        await store.PutAsync(_volume, 16, null);
        await store.HoldAsync(_machine, [_volume], Cancellation);
        await store.HoldAsync(_machine, [_volume], Cancellation);
        Assert.Equal("volume-in-use", (await Assert.ThrowsAsync<InstanceException>(() => store.HoldAsync(MachineId.New(), [_volume], Cancellation))).Code);
        Assert.Equal("volume-in-use", (await Assert.ThrowsAsync<InstanceException>(() => store.RemoveAsync(_volume))).Code);
        store.Release(_machine);
        await store.RemoveAsync(_volume);
        await store.RemoveAsync(_volume);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_directory));
        Assert.Equal(default, ledger.Allocated(DateTimeOffset.UnixEpoch));
        Assert.Equal("volume-not-found", (await Assert.ThrowsAsync<InstanceException>(() => store.HoldAsync(_machine, [_volume], Cancellation))).Code);
    }

    [Fact]
    public async Task A_copy_has_what_the_source_had()
    {
        var (store, _) = Open();
        await store.PutAsync(_volume, 16, null);
        const string Kept = "what the source had";
        var file = Path.Combine(_directory, "kept");
        File.WriteAllText(file, Kept);
        await CommandRunner.RunCheckedAsync("debugfs", ["-w", "-R", $"write {file} kept", store.PathOf(_volume)]);
        var copy = VolumeId.New();
        await store.PutAsync(copy, 32, _volume);
        Assert.Equal(32, store.List().Single(v => v.Id == copy).Mib);
        var content = await CommandRunner.RunCheckedAsync("debugfs", ["-R", "cat kept", store.PathOf(copy)]);
        Assert.Contains(Kept, content, StringComparison.Ordinal);
        // Said again after it was made, the source may be gone.
        await store.RemoveAsync(_volume);
        await store.PutAsync(copy, 32, _volume);
    }

    [Fact]
    public async Task What_a_crash_left_half_made_goes()
    {
        File.WriteAllText(Path.Combine(_directory, $"{_volume}.ext4.new"), "half");
        var (store, ledger) = Open();
        Assert.Empty(store.List());
        Assert.Equal(default, ledger.Allocated(DateTimeOffset.UnixEpoch));
        await store.PutAsync(_volume, 16, null);
        Assert.Single(store.List());
    }

    [Fact]
    public async Task A_copy_that_takes_long_keeps_nobody_from_another_volume()
    {
        var (store, _) = Open();
        await store.PutAsync(_volume, 16, null);
        // Who reads from a pipe waits for somebody to write to it.
        var source = VolumeId.New();
        await CommandRunner.RunCheckedAsync("mkfifo", [store.PathOf(source)]);
        var copying = store.PutAsync(VolumeId.New(), 32, source);

        await store.HoldAsync(_machine, [_volume], Cancellation);
        await store.PutAsync(VolumeId.New(), 16, null);
        Assert.Equal(_machine, store.List().Single(v => v.Id == _volume).Holder);
        using var impatience = new CancellationTokenSource(TimeSpan.FromMilliseconds(50));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => store.HoldAsync(MachineId.New(), [source], impatience.Token));
        Assert.False(copying.IsCompleted);

        using (var pipe = File.Open(store.PathOf(source), FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            await Assert.ThrowsAnyAsync<Exception>(() => copying);
        // What is left of the copy is nothing, and the source is anybody's again.
        Assert.Equal(3, store.List().Count);
        await store.HoldAsync(MachineId.New(), [source], Cancellation);
    }

    [Fact]
    public async Task Volumes_can_be_listed_while_they_come_and_go()
    {
        var (store, ledger) = Open();
        await store.PutAsync(_volume, 16, null);
        var coming = Task.Run(async () =>
        {
            for (var i = 0; i < 20; i++)
            {
                var volume = VolumeId.New();
                await store.PutAsync(volume, 16, null);
                await store.RemoveAsync(volume);
            }
        });
        while (!coming.IsCompleted)
            Assert.Contains(store.List(), v => v.Id == _volume);
        await coming;
        Assert.Equal(16, ledger.Allocated(DateTimeOffset.UnixEpoch).DiskMib);
    }

    private (VolumeStore Store, CapacityLedger Ledger) Open()
    {
        var ledger = new CapacityLedger(new NodeShare(1, 1024, 1024, 10));
        return (new VolumeStore(_directory, ledger, TimeProvider.System), ledger);
    }
}
