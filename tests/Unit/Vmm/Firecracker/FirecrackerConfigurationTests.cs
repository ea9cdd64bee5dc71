using System.Text;
using System.Text.Json;
using Ravel.Vmm;
using Ravel.Vmm.Firecracker;

namespace Ravel.Unit.Vmm.Firecracker;

public sealed class FirecrackerConfigurationTests
{
    private static readonly VmSpec Spec = new()
    {
        Id = "01J",
        RunDirectory = "/run/ravel/0/01J",
        Cpus = 2,
        MemoryMib = 256,
        Boot = new BootSource("/boot/vmlinuz", "/boot/initramfs", "ravel.debug=1"),
        Drives = [new Drive("root", "/images/a.erofs", ReadOnly: true), new Drive("data", "/disks/d.img", ReadOnly: false)],
        Networks = [new NetworkInterface("eth0", "rv0-1", "02:00:00:00:00:01")],
        Cgroup = "0/01J",
    };

    [Fact]
    public void Paths_are_relative_so_that_a_snapshot_fits_any_directory()
    {
        Assert.Equal(["drive0", "drive1"], FirecrackerConfiguration.Drives(Spec).Select(drive => drive.PathOnHost));
        Assert.Equal("kernel", FirecrackerConfiguration.Boot(Spec).KernelImagePath);
        Assert.Equal("v.sock", FirecrackerConfiguration.Vsock.UdsPath);
    }

    [Fact]
    public void Bodies_have_the_contracts_names()
    {
        Assert.Equal(
            """{"drive_id":"data","path_on_host":"drive1","is_root_device":false,"is_read_only":false,"cache_type":"Writeback","io_engine":"Sync"}""",
            JsonSerializer.Serialize(FirecrackerConfiguration.Drives(Spec).Last(), FirecrackerJson.Default.DriveBody));
        Assert.Equal(
            """{"vcpu_count":2,"mem_size_mib":256,"smt":false,"track_dirty_pages":false}""",
            JsonSerializer.Serialize(FirecrackerConfiguration.Machine(Spec), FirecrackerJson.Default.MachineConfiguration));
        Assert.Equal(
            """{"snapshot_path":"snapshot.state","mem_backend":{"backend_type":"File","backend_path":"snapshot.memory"},"resume_vm":false,"network_overrides":[{"iface_id":"eth0","host_dev_name":"rv0-1"}],"track_dirty_pages":false}""",
            JsonSerializer.Serialize(FirecrackerConfiguration.Load(Spec), FirecrackerJson.Default.SnapshotLoadBody));
    }

    [Theory]
    [InlineData("Firecracker v1.17.0-dev\n\nSupported snapshot data format versions: v9", "1.17.0")]
    [InlineData("Firecracker v1.9.1", "1.9.1")]
    [InlineData("firecracker", null)]
    public void The_version_is_read(string text, string? version) =>
        Assert.Equal(version, FirecrackerConfiguration.ParseVersion(text)?.ToString());

    [Theory]
    [InlineData("""{"fault_message":"no such file"}""", "no such file")]
    [InlineData("""{"error":"payload too large"}""", "payload too large")]
    [InlineData("{}", "(no reason)")]
    [InlineData("oops", "oops")]
    [InlineData("""{"fault_message":"a\nb\u001b[31m"}""", "a b [31m")]
    public void A_fault_has_its_words_under_either_key(string body, string words) =>
        Assert.Equal(words, FirecrackerApi.ReadFault(Encoding.UTF8.GetBytes(body)));

    [Theory]
    [InlineData(true, false, "", VmmExitKind.Killed)]
    [InlineData(false, true, "", VmmExitKind.GuestShutdown)]
    [InlineData(false, true, "Kernel panic - not syncing: x", VmmExitKind.GuestPanic)]
    [InlineData(false, false, "", VmmExitKind.Lost)]
    public void How_a_VM_ended_is_told_from_process_log_and_console(bool isKilled, bool endedWell, string console, VmmExitKind kind) =>
        Assert.Equal(kind, FirecrackerConfiguration.Classify(isKilled, endedWell, console, "words").Kind);

    [Fact]
    public void The_jailer_is_told_to_use_the_group_there_is_and_a_pid_namespace()
    {
        var jail = new Jail(new VmmOptions { Firecracker = "/opt/firecracker", JailDirectory = "/srv/jailer" }, "01J");

        Assert.Equal("/srv/jailer/firecracker/01J/root", jail.Root);
        Assert.Equal("/srv/jailer/firecracker/01J/root/firecracker.pid", jail.PidFile);
        Assert.Equal(
            "--id 01J --exec-file /opt/firecracker --uid 7 --gid 7 --chroot-base-dir /srv/jailer --cgroup-version 2 "
            + "--parent-cgroup ravel/0/01J --resource-limit no-file=1024 --resource-limit fsize=99 --new-pid-ns -- --api-sock api.sock",
            string.Join(' ', jail.Arguments("/opt/firecracker", 7, hasUnified: true, "ravel/0/01J", 99, networkNamespace: null)));
        Assert.Contains(
            "--cgroup-version 1 --parent-cgroup ravel/0/01J --netns /run/netns/a --resource-limit ",
            string.Join(' ', jail.Arguments("/opt/firecracker", 7, hasUnified: false, "ravel/0/01J", 99, "/run/netns/a")));
    }

    [Fact]
    public void Limits_are_buckets_of_a_second_and_are_taken_back_after_a_restore()
    {
        var limited = Spec with
        {
            Drives = [Spec.Drives[0]],
            Networks = [Spec.Networks[0]],
            Limits = new VmLimits { Disk = new RateLimit(1_000_000, 50), Network = new RateLimit(BytesPerSecond: 125_000) },
        };

        Assert.EndsWith(
            ""","rate_limiter":{"bandwidth":{"size":1000000,"refill_time":1000},"ops":{"size":50,"refill_time":1000}}}""",
            JsonSerializer.Serialize(FirecrackerConfiguration.Drives(limited).Single(), FirecrackerJson.Default.DriveBody));
        var network = FirecrackerConfiguration.Networks(limited).Single();
        Assert.Equal(new RateLimiterBody(new TokenBucketBody(125_000, 1000), null), network.RxRateLimiter);
        Assert.Equal(network.RxRateLimiter, network.TxRateLimiter);
        Assert.Null(FirecrackerConfiguration.Limiter(new RateLimit()));
        Assert.Equal(
            new RateLimiterBody(new TokenBucketBody(0, 0), new TokenBucketBody(7, 1000)),
            FirecrackerConfiguration.LimiterFromNowOn(new RateLimit(0, 7)));
    }

    [Theory]
    [InlineData("1.12.1", true)]
    [InlineData("1.13.0", null)]
    [InlineData("1.17.3", null)]
    [InlineData("1.18.0", false)]
    [InlineData("2.0.0", false)]
    public void A_version_is_too_old_right_or_newer_than_known(string version, bool? isFatal) =>
        Assert.Equal(isFatal, FirecrackerHost.Range(Version.Parse(version)).SingleOrDefault()?.IsFatal);

    [Fact]
    public void Options_come_from_the_environment_and_keep_their_defaults()
    {
        var variables = new Dictionary<string, string> { ["RAVEL_VMM"] = "firecracker", ["RAVEL_FIRECRACKER"] = "/opt/fc", ["RAVEL_JAILER"] = "" };

        var options = VmmOptions.FromEnvironment(name => variables.GetValueOrDefault(name));

        Assert.Equal(new VmmOptions { Driver = "firecracker", Firecracker = "/opt/fc" }, options);
        Assert.Equal("qemu", VmmOptions.FromEnvironment(_ => null).Driver);
    }

    [Fact]
    public void A_driver_there_is_not_is_refused_by_name()
    {
        Assert.Contains("'xen'", Assert.Throws<ArgumentException>(() => VmmDrivers.Create(new VmmOptions { Driver = "xen" })).Message);
        Assert.Contains("'hvf'", Assert.Throws<ArgumentException>(() => VmmDrivers.Create(new VmmOptions { Accelerator = "hvf" })).Message);
    }
}
