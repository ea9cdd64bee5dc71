using Ravel.Vmm;

namespace Ravel.Unit.Vmm;

public sealed class VmSpecRulesTests
{
    private static readonly VmSpec Good = new()
    {
        Id = "01JABC-1",
        RunDirectory = "/run/ravel/0/01J",
        Cpus = 1,
        MemoryMib = 64,
        Boot = new BootSource("/kernel", "/initramfs"),
        Drives = [new Drive("root", "/images/a b,c.img", true)],
        Networks = [new NetworkInterface("eth0", "rv0-12", "02:00:00:0a:0B:0c")],
        Cgroup = "0/01J",
    };

    [Fact]
    public void A_good_spec_breaks_no_rule() => Assert.Null(VmSpecRules.Violation(Good));

    [Fact]
    public void Every_rule_names_what_breaks_it()
    {
        (VmSpec Spec, string Words)[] cases =
        [
            (Good with { Id = "a_b" }, "id"),
            (Good with { Id = new string('a', 65) }, "id"),
            (Good with { Id = "" }, "id"),
            (Good with { RunDirectory = "run" }, "'run'"),
            (Good with { RunDirectory = "/" + new string('x', 90) }, "too long"),
            (Good with { Cpus = 0 }, "0 virtual CPUs"),
            (Good with { Cpus = 33 }, "33 virtual CPUs"),
            (Good with { MemoryMib = 63 }, "63 MiB"),
            (Good with { Boot = new BootSource("kernel", "/initramfs") }, "'kernel'"),
            (Good with { Drives = [new Drive("a-b", "/a", true)] }, "'a-b'"),
            (Good with { Drives = [new Drive("a", "/a", true), new Drive("a", "/b", true)] }, "two drives"),
            (Good with { Drives = [new Drive("a", "/a\n", true)] }, "absolute path"),
            (Good with { Networks = [new NetworkInterface("e", "t,script=/evil", "02:00:00:00:00:01")] }, "t,script"),
            (Good with { Networks = [new NetworkInterface("e", "tap0", "02-00-00-00-00-01")] }, "MAC"),
            (Good with { Limits = new VmLimits { Disk = new RateLimit(-1) } }, "the limit of its drives"),
            (Good with { Limits = new VmLimits { Network = new RateLimit(0, -1) } }, "the limit of its networks"),
            (Good with { Limits = new VmLimits { CpuWeight = 0 } }, "a CPU weight of 0"),
            (Good with { Limits = new VmLimits { Cpus = double.NaN } }, "NaN CPUs"),
            (Good with { NetworkNamespace = "netns/a" }, "'netns/a'"),
        ];

        Assert.All(cases, c => Assert.Contains(c.Words, VmSpecRules.Violation(c.Spec)));
    }
}
