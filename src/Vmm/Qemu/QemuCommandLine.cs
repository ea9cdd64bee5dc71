using System.Globalization;
using Ravel.Contracts.Link;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Qemu;

/// <summary>QEMU's arguments for a VM; pure. Options: qemu-system(1) and docs/system/i386/microvm of QEMU 7.2.</summary>
internal static class QemuCommandLine
{
    /// <summary>Where QEMU reads what it restores.</summary>
    public static string StateSource(QemuDescriptors descriptors) => Text($"fd:{descriptors.State}");

    /// <summary>Bytes of serial console QEMU keeps; has to be a power of two.</summary>
    public const int ConsoleBytes = 64 * 1024;

    public const string ConsoleDevice = "console";

    /// <summary>
    /// Devices that fit: a virtio-mmio transport each, of which microvm has 24. With 16 devices a guest was seen to boot, with 24 to hang.
    /// </summary>
    public const int MaxDevices = 16;

    /// <summary>Memory for translated code under TCG; QEMU's own default takes up to a GiB.</summary>
    private const int TranslationBufferMib = 256;

    private const int LapicTimerKhz = 1_000_000;

    /// <summary>What QEMU takes beside its guest: memory, and a CPU for its own threads.</summary>
    public static VmmOverhead Overhead(QemuHost host) => new(host.Accelerator == "kvm" ? 256 : 256 + TranslationBufferMib, Cpus: 1);

    /// <summary>The monitor's name for the device of the n-th drive.</summary>
    public static string DriveDevice(int index) => Text($"blk{index}");

    /// <param name="spec">The VM.</param>
    /// <param name="host">Where it runs.</param>
    /// <param name="isTemplate">Whether it is the guest of a template that is being made: its memory is what the template's will be.</param>
    public static List<string> Build(VmSpec spec, QemuHost host, bool isTemplate = false)
    {
        var descriptors = QemuDescriptors.Of(spec, host, isTemplate);
        var isKvm = host.Accelerator == "kvm";
        var arguments = new Arguments();
        arguments.Add("-name", Escape(spec.Id));
        // No BIOS tables, no PCI, no default devices: what is not named is not there.
        arguments.Add("-machine", "microvm,rtc=on,memory-backend=ram");
        arguments.Add("-accel", isKvm ? "kvm" : Text($"tcg,thread=multi,tb-size={TranslationBufferMib}"));
        arguments.Add("-cpu", isKvm ? "host" : "max");
        arguments.Add("-smp", Text($"{spec.Cpus}"));
        arguments.Add("-m", Text($"{spec.MemoryMib}M"));
        arguments.Add("-object", Memory(spec, descriptors, isTemplate));
        arguments.Add("-nodefaults", "-no-user-config", "-display", "none");
        arguments.Add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
        // The guest's end leaves QEMU paused, so that whoever comes later can ask how it ended.
        arguments.Add("-action", "reboot=shutdown,shutdown=pause,panic=pause");
        // Nothing runs before Ravel has spoken to QEMU.
        arguments.Add("-S");
        arguments.Add("-chardev", Text($"socket,id=monitor,fd={QemuDescriptors.Monitor},server=on,wait=off"));
        arguments.Add("-mon", "chardev=monitor,mode=control");
        arguments.Add("-chardev", Text($"ringbuf,id={ConsoleDevice},size={ConsoleBytes}"));
        arguments.Add("-serial", $"chardev:{ConsoleDevice}");
        arguments.Add("-global", "virtio-mmio.force-legacy=false");
        arguments.Add("-kernel", QemuDescriptors.PathOf(descriptors.Kernel), "-initrd", QemuDescriptors.PathOf(descriptors.Initramfs));
        arguments.Add("-append", KernelArguments(spec.Boot, host));
        AddDevices(arguments, spec, descriptors);
        if (spec.Restore is not null)
            arguments.Add("-incoming", StateSource(descriptors));
        else if (spec.Template is not null)
            arguments.Add("-incoming", "defer");
        return arguments.List;
    }

    /// <summary>What the machine needs the guest's kernel to know, then the caller's own, which win.</summary>
    public static string KernelArguments(BootSource boot, QemuHost host)
    {
        // reboot=t: a triple fault is the one reset this machine needs no device for. panic=-1: at once.
        List<string> arguments = ["console=ttyS0", "quiet", "reboot=t", "panic=-1"];
        // Emulated timers are late on a busy host: a kernel that calibrates the TSC against the PIT fails and then waits
        // for ever for a tick (every second boot hung). Under KVM the kernel learns the frequency from kvmclock.
        if (host is { Accelerator: "tcg", TscKhz: { } khz })
            arguments.Add(Text($"tsc_early_khz={khz}"));
        // The small kernel need not measure how fast QEMU's own local APIC counts (hw/intc/apic.c: nanoseconds); others pass it over.
        if (host.Accelerator == "tcg")
            arguments.Add(Text($"ravel.lapic_timer_khz={LapicTimerKhz}"));
        if (boot.ExtraArguments.Length > 0)
            arguments.Add(boot.ExtraArguments);
        return string.Join(' ', arguments);
    }

    /// <summary>
    /// One name in all of them, which a saved VM is held against. A template's memory is a file that its guests map privately: none writes
    /// to it, and what they do not change is in memory once.
    /// </summary>
    private static string Memory(VmSpec spec, QemuDescriptors descriptors, bool isTemplate) => descriptors.Memory is { } file
        ? Text($"memory-backend-file,id=ram,size={spec.MemoryMib}M,mem-path={QemuDescriptors.PathOf(file)},share={(isTemplate ? "on" : "off")}")
        : Text($"memory-backend-ram,id=ram,size={spec.MemoryMib}M");

    private static void AddDevices(Arguments arguments, VmSpec spec, QemuDescriptors descriptors)
    {
        // No bus= is given: QEMU takes the transports from the last to the first and lists them to the guest in that order,
        // so the guest sees the devices as they stand here. Named ascending (bus=virtio-mmio-bus.0, …) the guest's
        // order is the reverse, and the lowest transports get no interrupts.
        for (var i = 0; i < spec.Drives.Count; i++)
        {
            var drive = spec.Drives[i];
            // The host's page cache is used: a rootfs shared by many guests is in memory once. A guest's flush still reaches the
            // disk. Threads do the I/O: io_uring is often forbidden, Linux AIO needs O_DIRECT. Read-only files are not locked,
            // since any number of guests share them; a writable one is, against a second VM by mistake.
            var mode = drive.ReadOnly ? "read-only=on,locking=off" : "read-only=off";
            // A set of descriptors of which it has one: QEMU opens /dev/fdset/N by copying it.
            arguments.Add("-add-fd", Text($"fd={descriptors.Drives[i]},set={i}"));
            arguments.Add(
                "-blockdev",
                Text($"driver=file,node-name=file{i},filename=/dev/fdset/{i},{mode},auto-read-only=off,aio=threads,cache.direct=off,discard=unmap"));
            arguments.Add(
                "-blockdev", Text($"driver=raw,node-name=drive{i},file=file{i},read-only={(drive.ReadOnly ? "on" : "off")},discard=unmap"));
            arguments.Add("-device", Text($"virtio-blk-device,id={DriveDevice(i)},drive=drive{i}"));
        }
        for (var i = 0; i < spec.Networks.Count; i++)
        {
            var network = spec.Networks[i];
            var vhost = descriptors.Vhosts.Count > i ? Text($",vhost=on,vhostfd={descriptors.Vhosts[i]}") : "";
            // A hub without other ports leads nowhere.
            arguments.Add(
                "-netdev",
                descriptors.Taps.Count > i ? Text($"tap,id=tap{i},fd={descriptors.Taps[i]}{vhost}") : Text($"hubport,id=tap{i},hubid={i}"));
            arguments.Add("-device", Text($"virtio-net-device,id=net{i},netdev=tap{i},mac={network.Mac}"));
        }
        arguments.Add("-device", "virtio-serial-device,id=serial,max_ports=2");
        arguments.Add("-chardev", Text($"socket,id=link,fd={QemuDescriptors.Link},server=on,wait=off"));
        arguments.Add("-device", $"virtserialport,bus=serial.0,nr=1,chardev=link,name={LinkProtocol.SerialPortName}");
        arguments.Add("-object", "rng-builtin,id=random");
        arguments.Add("-device", "virtio-rng-device,rng=random");
    }

    /// <summary>In a value of comma-separated options a comma is written twice.</summary>
    private static string Escape(string value) => value.Replace(",", ",,", StringComparison.Ordinal);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed class Arguments
    {
        public List<string> List { get; } = [];

        public void Add(params ReadOnlySpan<string> words)
        {
            foreach (var word in words)
                List.Add(word);
        }
    }
}
