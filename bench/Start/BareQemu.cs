using System.Diagnostics;
using System.Net.Sockets;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Linux.Processes;

namespace Ravel.Bench.Start;

/// <summary>
/// What a script would do: start QEMU with the command line of a machine of Ravel's, tell the guest its configuration over
/// the link, read the first line. Nothing is journaled, limited, filtered or supervised.
/// </summary>
internal sealed class BareQemu : IAsyncDisposable
{
    private const string Tap = "rvbench0";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly string _work;
    private readonly QemuCommandLine _line;
    private readonly string _disk;
    private readonly string _template;

    private BareQemu(string work, QemuCommandLine line, string disk, string template) =>
        (_work, _line, _disk, _template) = (work, line, disk, template);

    /// <summary>Starts a machine once to see what its QEMU is started with.</summary>
    public static async Task<BareQemu> LikeAMachineOfAsync(RavelUnderTest ravel, CancellationToken cancellationToken)
    {
        var work = Directory.CreateTempSubdirectory("ravel-bench-bare-").FullName;
        var machine = await ravel.CreateAsync(cancellationToken);
        try
        {
            await ravel.StartAsync(machine, cancellationToken);
            var line = QemuCommandLine.FindByDrivesIn(ravel.DataDirectory, work);
            var disk = line.WritableDrives().Single();
            var template = Path.Combine(work, "template");
            await ravel.StopAsync(machine, cancellationToken);
            await CopyAsync(disk, template, cancellationToken);
            await CommandRunner.RunCheckedAsync("ip", ["tuntap", "add", "dev", Tap, "mode", "tap", "vnet_hdr"], cancellationToken: cancellationToken);
            await CommandRunner.RunCheckedAsync("ip", ["link", "set", Tap, "up"], cancellationToken: cancellationToken);
            return new BareQemu(work, line, disk, template);
        }
        catch
        {
            Directory.Delete(work, recursive: true);
            throw;
        }
        finally
        {
            await ravel.DestroyAsync(machine);
        }
    }

    /// <summary>From the start of QEMU to the first line.</summary>
    public async Task<TimeSpan> MeasureStartAsync(CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(Patience);
        var directory = Directory.CreateDirectory(Path.Combine(_work, "run")).FullName;
        var disk = Path.Combine(directory, "disk");
        await CopyAsync(_template, disk, deadline.Token);
        var line = _line.MovedTo(directory, Tap, new Dictionary<string, string> { [_disk] = disk });
        var socket = _line.LinkSocket(directory, LinkProtocol.SerialPortName);
        using var qemu = new Process { StartInfo = new ProcessStartInfo(line.Program, line.Arguments) { RedirectStandardError = true } };
        try
        {
            var began = Stopwatch.GetTimestamp();
#pragma warning disable RS0030 // It is measured from here, and ended below.
            qemu.Start();
#pragma warning restore RS0030
            var channel = await ConnectAsync(socket, qemu, deadline.Token);
            await using var link = await HostLink.ConnectAsync(
                channel, isLossy: true, new HostHello(LinkProtocol.MinimumVersion, LinkProtocol.Version, 0, 0), deadline.Token);
            await link.SendAsync(new Configure(Config(_line.Mac)), deadline.Token);
            await using var output = link.OpenRead(LinkStreams.Stdout);
            var buffer = new byte[4096];
            if (await output.ReadAsync(buffer, deadline.Token) == 0)
                throw new InvalidOperationException("the workload of the bare QEMU ended without a line");
            return Stopwatch.GetElapsedTime(began);
        }
        finally
        {
            qemu.Kill();
            await qemu.WaitForExitAsync(CancellationToken.None);
            Directory.Delete(directory, recursive: true);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await CommandRunner.RunAsync("ip", ["link", "delete", Tap]);
        Directory.Delete(_work, recursive: true);
    }

    /// <summary>QEMU makes the socket while it starts; a script has to try until it is there.</summary>
    private static async Task<NetworkStream> ConnectAsync(string path, Process qemu, CancellationToken cancellationToken)
    {
        while (true)
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch (SocketException)
            {
                socket.Dispose();
                if (qemu.HasExited)
                    throw new InvalidOperationException($"the bare QEMU ended: {(await qemu.StandardError.ReadToEndAsync(cancellationToken)).Trim()}");
                await Task.Delay(2, cancellationToken);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
    }

    private static GuestConfig Config(string mac) => new()
    {
        Hostname = "bare",
        Root = new RootConfig("/dev/vda", "/dev/vdb"),
        Workload = new ProcessConfig
        {
            Arguments = RavelUnderTest.Workload,
            Environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        // Addresses of documentation (RFC 5737, RFC 3849): as much work for the guest, and nobody answers.
        Network = new NetworkConfig
        {
            Mac = mac,
            Addresses = ["192.0.2.2/32", "2001:db8::2/128"],
            Gateways = ["192.0.2.1", "2001:db8::1"],
        },
        UnixNanoseconds = (TimeProvider.System.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * 100,
    };

    private static Task CopyAsync(string from, string to, CancellationToken cancellationToken) =>
        CommandRunner.RunCheckedAsync("cp", ["--sparse=always", from, to], cancellationToken: cancellationToken);
}
