using Ravel.Vmm;

namespace Ravel.Unit.Vmm;

public sealed class VmSpecRulesTests
{
    private static readonly VmSpec s_good = new()
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
    public void A_good_spec_breaks_no_rule() => Assert.Null(VmSpecRules.Violation(s_good));

    [Fact]
    public void Every_rule_names_what_breaks_it()
    {
        (VmSpec Spec, string Words)[] cases =
        [
            (s_good with { Id = "a_b" }, "id"),
            (s_good with { Id = new string('a', 65) }, "id"),
            (s_good with { Id = "" }, "id"),
            (s_good with { RunDirectory = "run" }, "'run'"),
            (s_good with { RunDirectory = "/" + new string('x', 90) }, "too long"),
            (s_good with { Cpus = 0 }, "0 virtual CPUs"),
            (s_good with { Cpus = 33 }, "33 virtual CPUs"),
            (s_good with { MemoryMib = 63 }, "63 MiB"),
            (s_good with { Boot = new BootSource("kernel", "/initramfs") }, "'kernel'"),
            (s_good with { Drives = [new Drive("a-b", "/a", true)] }, "'a-b'"),
            (s_good with { Drives = [new Drive("a", "/a", true), new Drive("a", "/b", true)] }, "two drives"),
            (s_good with { Drives = [new Drive("a", "/a\n", true)] }, "absolute path"),
            (s_good with { Networks = [new NetworkInterface("e", "t,script=/evil", "02:00:00:00:00:01")] }, "t,script"),
            (s_good with { Networks = [new NetworkInterface("e", "tap0", "02-00-00-00-00-01")] }, "MAC"),
        ];

        Assert.All(cases, c => Assert.Contains(c.Words, VmSpecRules.Violation(c.Spec)));
    }
}
