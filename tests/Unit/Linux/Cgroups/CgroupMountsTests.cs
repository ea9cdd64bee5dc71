using Ravel.Linux.Cgroups;

namespace Ravel.Unit.Linux.Cgroups;

public sealed class CgroupMountsTests
{
    [Fact]
    public void A_production_host_has_one_v2_tree()
    {
        var mounts = CgroupMounts.Parse("35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");

        Assert.Equal("/sys/fs/cgroup", mounts.Unified);
        Assert.Empty(mounts.Legacy);
    }

    [Fact]
    public void A_hybrid_host_has_both()
    {
        var mounts = CgroupMounts.Parse(
            """
            30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
            31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct
            32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
            33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
            34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
            """);

        Assert.Equal("/sys/fs/cgroup/unified", mounts.Unified);
        Assert.Equal("/sys/fs/cgroup/memory", mounts.Legacy["memory"]);
        Assert.Equal("/sys/fs/cgroup/cpu,cpuacct", mounts.Legacy["cpu"]);
        Assert.Equal("/sys/fs/cgroup/cpu,cpuacct", mounts.Legacy["cpuacct"]);
        Assert.Equal(3, mounts.Legacy.Count);
    }

    [Fact]
    public void A_bind_mount_of_a_part_of_a_tree_is_not_the_tree()
    {
        var mounts = CgroupMounts.Parse(
            """
            34 30 0:30 /machine.slice /srv/jail/cgroup rw - cgroup2 cgroup2 rw
            35 30 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
            """);

        Assert.Equal("/sys/fs/cgroup", mounts.Unified);
    }

    [Fact]
    public void Escapes_in_a_mount_point_are_undone() =>
        Assert.Equal("/a b\\c", CgroupMounts.Parse("34 30 0:30 / /a\\040b\\134c rw - cgroup2 cgroup2 rw").Unified);

    [Theory]
    [InlineData("../evil")]
    [InlineData("/abs")]
    [InlineData("a//b")]
    [InlineData("a b")]
    [InlineData("")]
    public void A_name_that_could_leave_the_tree_is_refused(string name)
    {
        var tree = new CgroupTree(new CgroupMounts(null, new Dictionary<string, string>()), "ravel");

        Assert.Throws<ArgumentException>(() => tree.Open(name));
    }
}
