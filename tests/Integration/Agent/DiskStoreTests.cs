using Ravel.Agent.Disks;
using Ravel.Contracts.Ids;
using Ravel.Linux.Processes;

namespace Ravel.Integration.Agent;

public sealed class DiskStoreTests : IDisposable
{
    private readonly string _directory = Path.Combine(Path.GetTempPath(), "ravel-disks-" + MachineId.New());

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task A_disk_is_a_sound_and_sparse_ext4_of_its_size()
    {
        var disks = new DiskStore(_directory);
        var machine = MachineId.New();
        await disks.MakeAsync(machine, 1024);
        var path = disks.PathOf(machine);
        Assert.Equal(1024L * 1024 * 1024, new FileInfo(path).Length);
        Assert.Equal(0, (await CommandRunner.RunAsync("e2fsck", ["-f", "-n", path])).ExitCode);
        var blocks = long.Parse(await CommandRunner.RunCheckedAsync("stat", ["-c", "%b", path]), null) * 512;
        Assert.InRange(blocks, 1, 16 * 1024 * 1024);
    }

    [Fact]
    public async Task Disks_of_one_size_made_at_once_share_a_template()
    {
        var disks = new DiskStore(_directory);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => disks.MakeAsync(MachineId.New(), 64)));
        Assert.Single(Directory.EnumerateFiles(Path.Combine(_directory, "templates")));
        Assert.Equal(8, Directory.EnumerateFiles(_directory).Count());
    }

    [Fact]
    public async Task What_a_crash_left_half_made_and_what_nobody_owns_is_removed()
    {
        var disks = new DiskStore(_directory);
        var machine = MachineId.New();
        await disks.MakeAsync(machine, 64);
        await File.WriteAllTextAsync(disks.PathOf(machine) + ".new", "half");
        await disks.MakeAsync(MachineId.New(), 64);
        disks.RemoveStrays(new HashSet<MachineId> { machine });
        Assert.Equal([disks.PathOf(machine)], Directory.EnumerateFiles(_directory));
    }
}
