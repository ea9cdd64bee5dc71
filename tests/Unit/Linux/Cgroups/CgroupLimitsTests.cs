using Ravel.Linux.Cgroups;
using Ravel.Linux.Files;

namespace Ravel.Unit.Linux.Cgroups;

/// <summary>What is written to either version's files, in a tree of plain files.</summary>
public sealed class CgroupLimitsTests : IDisposable
{
    private static readonly string[] V2Files =
        ["memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "io.max", "cgroup.subtree_control", "cgroup.procs"];

    private static readonly string[] V1Files =
    [
        "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us",
        "blkio.throttle.read_bps_device", "blkio.throttle.read_iops_device", "cgroup.procs",
    ];

    private static readonly CgroupLimits Limits = new(1 << 30, 1.5, 200, [new DeviceReads("8:0", 1_000_000, 0)]);

    private readonly string _root = Directory.CreateTempSubdirectory("cgroups-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void A_v2_group_gets_weight_ceiling_memory_and_reads()
    {
        var group = V2().Create("vm", Limits);

        Assert.Equal("1073741824", Read("memory.max"));
        Assert.Equal("0", Read("memory.swap.max"));
        Assert.Equal("150000 100000", Read("cpu.max"));
        Assert.Equal("200", Read("cpu.weight"));
        Assert.Equal("8:0 rbps=1000000 riops=max", Read("io.max"));
        Assert.Equal("+cpu +io +memory", File.ReadAllText(Path.Combine(_root, "ravel", "cgroup.subtree_control")));

        group.Limit(new CgroupLimits(Cpus: 0.001, CpuWeight: 1, Reads: [new DeviceReads("8:0", 0, 500)]));

        // Not below what the kernel takes.
        Assert.Equal("1000 100000", Read("cpu.max")[..11]);
        Assert.StartsWith("8:0 rbps=max riops=500", Read("io.max"), StringComparison.Ordinal);
        Assert.StartsWith("1", Read("cpu.weight"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_v1_group_gets_the_same_in_its_own_units()
    {
        V1().Create("vm", Limits);

        Assert.Equal("1073741824", Read("memory.limit_in_bytes"));
        Assert.Equal("1073741824", Read("memory.memsw.limit_in_bytes"));
        Assert.Equal(("100000", "150000"), (Read("cpu.cfs_period_us"), Read("cpu.cfs_quota_us")));
        Assert.Equal("2048", Read("cpu.shares"));
        Assert.Equal("8:0 1000000", Read("blkio.throttle.read_bps_device"));
        Assert.Equal("8:0 0", Read("blkio.throttle.read_iops_device"));
    }

    [Fact]
    public void Limits_of_a_group_that_is_gone_do_not_bring_it_back()
    {
        var group = V2().Open("gone");

        group.Limit(Limits);

        Assert.False(group.Exists);
    }

    [Fact]
    public void A_controller_that_is_not_there_is_not_written_to()
    {
        File.WriteAllText(Path.Combine(_root, "cgroup.controllers"), "cpuset memory");
        Prepare(["memory.max", "memory.swap.max", "cgroup.subtree_control"]);

        new CgroupTree(new CgroupMounts(_root, new Dictionary<string, string>()), "ravel").Create("vm", Limits);

        Assert.Equal("1073741824", Read("memory.max"));
        Assert.False(File.Exists(Path.Combine(_root, "ravel", "vm", "cpu.max")));
    }

    [Fact]
    public void Usage_is_read_in_either_version()
    {
        var group = V2().Create("vm", Limits);
        Write("cpu.stat", "usage_usec 2500000\nuser_usec 1\nnr_periods 9\nnr_throttled 4\n");
        Write("memory.current", "4096\n");

        Assert.Equal(new CgroupUsage(TimeSpan.FromSeconds(2.5), 4096, 4), group.ReadUsage());

        group = V1().Create("vm", Limits);
        Write("cpuacct.usage", "3000000000\n");
        Write("memory.usage_in_bytes", "8192\n");
        Assert.Equal(new CgroupUsage(TimeSpan.FromSeconds(3), 8192, 4), group.ReadUsage());
    }

    [Fact]
    public void A_partition_counts_as_its_disk()
    {
        var disk = Directory.CreateDirectory(Path.Combine(_root, "devices", "sda")).FullName;
        File.WriteAllText(Path.Combine(disk, "dev"), "8:0\n");
        var partition = Directory.CreateDirectory(Path.Combine(disk, "sda1")).FullName;
        File.WriteAllText(Path.Combine(partition, "partition"), "1\n");
        var block = Directory.CreateDirectory(Path.Combine(_root, "block")).FullName;
        Directory.CreateSymbolicLink(Path.Combine(block, "8:0"), disk);
        Directory.CreateSymbolicLink(Path.Combine(block, "8:1"), partition);

        Assert.Equal("8:0", BackingDisk.DiskOf(8, 1, block));
        Assert.Equal("8:0", BackingDisk.DiskOf(8, 0, block));
        Assert.Null(BackingDisk.DiskOf(0, 42, block));
        Assert.Null(BackingDisk.Of(Path.Combine(_root, "nothing")));
    }

    private CgroupTree V2()
    {
        File.WriteAllText(Path.Combine(_root, "cgroup.controllers"), "cpuset cpu io memory pids");
        Prepare(V2Files);
        return new CgroupTree(new CgroupMounts(_root, new Dictionary<string, string>()), "ravel");
    }

    private CgroupTree V1()
    {
        Prepare(V1Files);
        string[] controllers = ["cpu", "cpuacct", "memory", "blkio"];
        return new CgroupTree(new CgroupMounts(null, controllers.ToDictionary(name => name, _ => _root)), "ravel");
    }

    /// <summary>The kernel makes the files of a group; nothing of ours makes one.</summary>
    private void Prepare(IReadOnlyList<string> files)
    {
        File.WriteAllText(Path.Combine(_root, "cgroup.subtree_control"), "");
        foreach (var file in files)
            Write(file, "");
        File.WriteAllText(Path.Combine(_root, "ravel", "cgroup.subtree_control"), "");
    }

    private void Write(string file, string text) =>
        File.WriteAllText(Path.Combine(Directory.CreateDirectory(Path.Combine(_root, "ravel", "vm")).FullName, file), text);

    private string Read(string file) => File.ReadAllText(Path.Combine(_root, "ravel", "vm", file));
}
