using System.Globalization;
using System.Net.Sockets;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Linux.Processes;

namespace Ravel.Testing.Guest;

/// <param name="Kernel">bzImage.</param>
/// <param name="Initramfs">Its first root.</param>
/// <param name="Drives">Raw images, the first is /dev/vda; true = read-only.</param>
public sealed record RawQemuSpec(string Kernel, string Initramfs, IReadOnlyList<(string Path, bool ReadOnly)> Drives)
{
    public int MemoryMib { get; init; } = 256;

    public int Cpus { get; init; } = 1;

    public string KernelArguments { get; init; } = "console=ttyS0 quiet reboot=t panic=-1";

    /// <summary>More arguments for QEMU, for instance a network.</summary>
    public IReadOnlyList<string> More { get; init; } = [];
}

/// <summary>
/// A microVM started as a shell script would start it: one qemu command line, nothing of Ravel but the guest. The peer that Ravel's
/// own start is measured against, and the ground the guest's tests stand on.
/// </summary>
public sealed class RawQemu : IAsyncDisposable
{
    public const string Program = "qemu-system-x86_64";

    private readonly string _directory;
    private readonly CancellationTokenSource _kill = new();

    private RawQemu(string directory, RawQemuSpec spec)
    {
        _directory = directory;
        Exited = CommandRunner.RunAsync(Program, Arguments(directory, spec), timeout: TimeSpan.FromMinutes(10), cancellationToken: _kill.Token);
    }

    /// <summary>How QEMU ended. A guest's reset is exit code 0.</summary>
    public Task<CommandResult> Exited { get; }

    private string Socket => Path.Combine(_directory, "link.sock");

    private string ConsoleLog => Path.Combine(_directory, "console.log");

    /// <param name="directory">An empty one for its sockets and console.</param>
    /// <param name="spec">What to boot.</param>
    public static RawQemu Start(string directory, RawQemuSpec spec) => new(directory, spec);

    public static IReadOnlyList<string> Arguments(string directory, RawQemuSpec spec)
    {
        var accelerator = Directory.Exists("/sys/module/kvm_intel") || Directory.Exists("/sys/module/kvm_amd") ? "kvm" : "tcg";
        List<string> arguments =
        [
            "-M", $"microvm,accel={accelerator},rtc=on", "-cpu", "max", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-m", $"{spec.MemoryMib}", "-smp", $"{spec.Cpus}",
            "-kernel", spec.Kernel, "-initrd", spec.Initramfs,
            "-append", $"{spec.KernelArguments} tsc_early_khz={HostTscKhz()}",
            "-serial", $"file:{Path.Combine(directory, "console.log")}",
            "-chardev", $"socket,id=link,path={Path.Combine(directory, "link.sock")},server=on,wait=off",
            "-device", "virtio-serial-device", "-device", $"virtserialport,chardev=link,name={LinkProtocol.SerialPortName}",
        ];
        for (var i = 0; i < spec.Drives.Count; i++)
        {
            var (path, isReadOnly) = spec.Drives[i];
            arguments.AddRange(
            [
                "-drive", $"id=d{i},file={path},format=raw,if=none,readonly={(isReadOnly ? "on" : "off")}",
                "-device", $"virtio-blk-device,drive=d{i}",
            ]);
        }
        arguments.AddRange(spec.More);
        return arguments;
    }

    /// <summary>Opens a link session; waits for QEMU and the guest.</summary>
    public async Task<HostLink> ConnectAsync(HostHello hello, CancellationToken cancellationToken)
    {
        while (true)
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(Socket), cancellationToken);
                return await HostLink.ConnectAsync(new NetworkStream(socket, ownsSocket: true), isLossy: true, hello, cancellationToken);
            }
            catch (SocketException)
            {
                socket.Dispose();
                if (Exited.IsCompleted)
                    throw new InvalidOperationException($"QEMU ended: {(await Exited).Error}");
                await Task.Delay(TimeSpan.FromMilliseconds(5), cancellationToken);
            }
        }
    }

    public string ReadConsole()
    {
        using var file = new FileStream(ConsoleLog, FileMode.OpenOrCreate, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(file);
        return reader.ReadToEnd();
    }

    public async ValueTask DisposeAsync()
    {
        await _kill.CancelAsync();
        try
        {
            await Exited;
        }
        catch (OperationCanceledException)
        {
        }
        _kill.Dispose();
    }

    /// <summary>
    /// The emulated timer the kernel would calibrate the TSC with is too coarse on a busy host: without being told, half the
    /// boots hang.
    /// </summary>
    private static long HostTscKhz()
    {
        var line = File.ReadLines("/proc/cpuinfo").First(l => l.StartsWith("cpu MHz", StringComparison.Ordinal));
        return (long)(double.Parse(line[(line.IndexOf(':') + 1)..], CultureInfo.InvariantCulture) * 1000);
    }
}
