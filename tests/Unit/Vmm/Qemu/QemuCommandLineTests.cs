using Ravel.Vmm;
using Ravel.Vmm.Qemu;

namespace Ravel.Unit.Vmm.Qemu;

public sealed class QemuCommandLineTests
{
    private static readonly QemuHost Emulated = new("tcg", 2_596_128, HasVhostNet: false);
    private static readonly QemuHost Kvm = new("kvm", 2_596_128, HasVhostNet: true);

    private static readonly VmSpec Spec = new()
    {
        Id = "01J",
        RunDirectory = "/run/ravel/0/01J",
        Cpus = 2,
        MemoryMib = 256,
        Boot = new BootSource("/boot/vmlinuz", "/boot/initramfs", "ravel.debug=1"),
        Drives = [new Drive("root", "/images/a,b.erofs", ReadOnly: true), new Drive("data", "/disks/d.img", ReadOnly: false)],
        Networks = [new NetworkInterface("eth0", "rv0-1", "02:00:00:00:00:01")],
        Cgroup = "0/01J",
    };

    [Fact]
    public void The_TSC_frequency_is_told_under_emulation_only()
    {
        Assert.Equal(
            "console=ttyS0 quiet reboot=t panic=-1 tsc_early_khz=2596128 ravel.lapic_timer_khz=1000000 ravel.debug=1",
            QemuCommandLine.KernelArguments(Spec.Boot, Emulated));
        Assert.Equal("console=ttyS0 quiet reboot=t panic=-1 ravel.debug=1", QemuCommandLine.KernelArguments(Spec.Boot, Kvm));
    }

    [Fact]
    public void Drives_stand_in_their_order_by_descriptor_and_read_only_ones_unlocked()
    {
        var values = QemuCommandLine.Build(Spec, Emulated);

        var files = values.Where(value => value.StartsWith("driver=file", StringComparison.Ordinal)).ToList();
        Assert.Contains("filename=/dev/fdset/0,read-only=on,locking=off", files[0]);
        Assert.Contains("filename=/dev/fdset/1,read-only=off,", files[1]);
        Assert.Contains("fd=7,set=0", values);
        Assert.Contains("fd=8,set=1", values);
        Assert.DoesNotContain("locking", files[1]);
        Assert.True(values.IndexOf("virtio-blk-device,id=blk0,drive=drive0") < values.IndexOf("virtio-blk-device,id=blk1,drive=drive1"));
    }

    [Fact]
    public void Nothing_is_run_and_no_device_is_there_but_those_named()
    {
        var values = QemuCommandLine.Build(Spec, Emulated);

        Assert.Contains("-nodefaults", values);
        Assert.Contains("-no-user-config", values);
        Assert.Contains("-S", values);
        Assert.Contains("on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", values);
        Assert.Contains("tap,id=tap0,fd=9", values);
        // None of the VM's paths: QEMU's user may reach none of them.
        Assert.DoesNotContain(values, value => value.Contains("/images", StringComparison.Ordinal) || value.Contains("/disks", StringComparison.Ordinal) || value.Contains("/boot", StringComparison.Ordinal));
        Assert.DoesNotContain("-incoming", values);
    }

    [Fact]
    public void KVM_gets_the_hosts_processor_and_vhost()
    {
        var values = QemuCommandLine.Build(Spec, Kvm);

        Assert.Contains("kvm", values);
        Assert.Contains("host", values);
        Assert.Contains("tap,id=tap0,fd=9,vhost=on,vhostfd=10", values);
    }

    [Fact]
    public void A_restored_VM_reads_its_state_from_the_descriptor_it_is_handed() =>
        Assert.Contains("fd:10", QemuCommandLine.Build(Spec with { Restore = new VmSnapshot("/s", "qemu", "7.2.22") }, Emulated));

    [Fact]
    public void A_templates_memory_is_a_file_that_only_the_VM_it_is_made_of_writes_to()
    {
        var made = QemuCommandLine.Build(Spec, Emulated, isTemplate: true);
        Assert.Contains("memory-backend-file,id=ram,size=256M,mem-path=/proc/self/fd/9,share=on", made);
        Assert.Contains("hubport,id=tap0,hubid=0", made);
        Assert.DoesNotContain(made, value => value.Contains("rv0-1", StringComparison.Ordinal));

        var copy = QemuCommandLine.Build(Spec with { Template = new VmTemplate("/t/a") }, Emulated);
        Assert.Contains("memory-backend-file,id=ram,size=256M,mem-path=/proc/self/fd/11,share=off", copy);
        Assert.Equal("defer", copy[copy.IndexOf("-incoming") + 1]);
        Assert.Contains("memory-backend-ram,id=ram,size=256M", QemuCommandLine.Build(Spec, Emulated));
    }

    [Theory]
    [InlineData(0x1b6, 0, true, new int[0])]
    [InlineData(0x1b0, 106, true, new[] { 106 })]
    [InlineData(0x1b0, 0, false, new int[0])]
    [InlineData(0x180, 106, false, new int[0])]
    public void A_user_gets_the_group_that_opens_kvm_if_anybody_may(uint mode, int group, bool canOpen, int[] groups)
    {
        var host = Kvm.WithKvm(mode, group);
        Assert.Equal(canOpen, host.CanOthersOpenKvm);
        Assert.Equal(groups, host.Groups);
    }

    [Theory]
    [InlineData(null, true, true, "kvm")]
    [InlineData(null, true, false, "tcg")]
    [InlineData(null, false, true, "tcg")]
    [InlineData("tcg", true, true, "tcg")]
    [InlineData("kvm", false, false, "kvm")]
    public void KVM_is_used_only_with_the_processors_own_module_and_a_device_that_opens(string? wanted, bool module, bool opens, string expected) =>
        Assert.Equal(expected, QemuHost.ChooseAccelerator(wanted, path => module && path == "/sys/module/kvm_amd", () => opens));

    [Theory]
    [InlineData("processor\t: 0\ncpu MHz\t\t: 2596.128\ncache size\t: 1\ncpu MHz\t\t: 9.0\n", 2_596_128)]
    [InlineData("cpu MHz\t\t: 0\n", null)]
    [InlineData("", null)]
    public void The_frequency_is_the_first_processors(string cpuInfo, int? khz) => Assert.Equal(khz, QemuHost.ParseTscKhz(cpuInfo));

    [Theory]
    [InlineData("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright", "7.2.22")]
    [InlineData("QEMU emulator version 10.0.0\n", "10.0.0")]
    [InlineData("something else", null)]
    public void The_version_is_read(string text, string? version) => Assert.Equal(version, QemuDriver.ParseVersion(text));

    [Theory]
    [InlineData("guest-shutdown", "Kernel panic - not syncing: x\n", VmmExitKind.GuestShutdown)]
    [InlineData("guest-reset", "", VmmExitKind.GuestShutdown)]
    [InlineData("guest-reset", "…\n[ 1.0] Kernel panic - not syncing: Attempted to kill init!\n[ 1.1] x", VmmExitKind.GuestPanic)]
    [InlineData("guest-panicked", "", VmmExitKind.GuestPanic)]
    [InlineData("shutdown", "Kernel panic - not syncing: x", VmmExitKind.GuestPanic)]
    public void How_a_guest_ended_is_told_from_the_reason_and_its_last_words(string reason, string console, VmmExitKind kind) =>
        Assert.Equal(kind, QemuVm.Classify(reason, console).Kind);
}
