using System.Text;
using System.Text.Json;
using Ravel.Vmm;
using Ravel.Vmm.Firecracker;

namespace Ravel.Unit.Vmm.Firecracker;

public sealed class LaunchedVmTests
{
    private static readonly VmSpec Spec = new()
    {
        Id = "01J",
        RunDirectory = "/run/ravel/0/01J",
        Cpus = 2,
        MemoryMib = 256,
        Boot = new BootSource("/boot/vmlinuz", "/boot/initramfs"),
        Drives = [new Drive("root", "/images/a.erofs", ReadOnly: true), new Drive("data", "/disks/d.img", ReadOnly: false)],
        Networks = [new NetworkInterface("eth0", "rv0-1", "02:00:00:00:00:0a")],
        Cgroup = "0/01J",
    };

    private const string Right =
        """
        {"machine-config":{"vcpu_count":2,"mem_size_mib":256,"smt":false,"cpu_template":"None"},
         "drives":[{"drive_id":"data","path_on_host":"drive1","is_root_device":false,"is_read_only":false,"rate_limiter":null},
                   {"drive_id":"root","path_on_host":"drive0","is_root_device":false,"is_read_only":true}],
         "network-interfaces":[{"iface_id":"eth0","host_dev_name":"rv0-1","guest_mac":"02:00:00:00:00:0A"}],
         "vsock":{"guest_cid":3,"uds_path":"v.sock"},"logger":null,"metrics":null,"balloon":null}
        """;

    [Fact]
    public void A_VM_that_has_what_it_was_given_is_ours_in_whatever_order_it_lists_it() => Assert.Null(Mismatch(Spec, Right));

    [Theory]
    [InlineData("\"vcpu_count\":2", "\"vcpu_count\":4", "4 CPUs")]
    [InlineData("\"mem_size_mib\":256", "\"mem_size_mib\":512", "512 MiB")]
    [InlineData("\"drive1\"", "\"drive7\"", "data=drive7")]
    [InlineData("\"is_read_only\":true", "\"is_read_only\":false", "instead of [root=drive0 (read-only)")]
    [InlineData("\"rv0-1\"", "\"rv0-2\"", "rv0-2")]
    [InlineData("0A\"", "0B\"", "networks")]
    [InlineData("\"v.sock\"", "\"/run/other\"", "/run/other")]
    [InlineData("\"balloon\":null", "\"balloon\":{\"amount_mib\":0,\"deflate_on_oom\":true}", "a balloon")]
    [InlineData("\"machine-config\"", "\"machine\"", "size")]
    [InlineData("[{\"iface_id\"", "[null,null,{\"iface_id\"", null)]
    public void What_is_otherwise_is_named(string from, string to, string? words)
    {
        var mismatch = Mismatch(Spec, Right.Replace(from, to, StringComparison.Ordinal));
        if (words is null)
            Assert.Null(mismatch);
        else
            Assert.Contains(words, mismatch);
    }

    [Fact]
    public void A_restored_VM_keeps_the_address_it_was_saved_with()
    {
        var restored = Spec with { Restore = new VmSnapshot("/saved", "firecracker", "1.17.0") };

        Assert.Null(Mismatch(restored, Right.Replace("0A\"", "0B\"", StringComparison.Ordinal)));
    }

    [Fact]
    public void Metrics_are_added_up_and_nonsense_counts_nothing()
    {
        var sum = new DiskUsage(1, 2, 3, long.MaxValue - 1);
        foreach (var line in (string[])["", "{", "[]", "null", """{"block":null}""", """{"block":{"read_bytes":-5},"net":{}}""", """{"block":{"read_count":"x"}}"""])
            Assert.Equal(sum, DeviceMeter.Add(sum, Encoding.UTF8.GetBytes(line)));

        Assert.Equal(
            new DiskUsage(11, 22, 33, long.MaxValue),
            DeviceMeter.Add(sum, """{"utc_timestamp_ms":1,"block":{"read_bytes":10,"write_bytes":20,"read_count":30,"write_count":40},"net":{"rx_bytes_count":30}}"""u8));
    }

    private static string? Mismatch(VmSpec spec, string config) =>
        LaunchedVm.Of(spec).Mismatch(JsonSerializer.Deserialize(config, FirecrackerJson.Default.VmConfigBody)!);
}
