using System.Text;
using Ravel.Contracts.Link;
using Ravel.Linux.Processes;
using Ravel.Testing.Guest;

namespace Ravel.EndToEnd.GuestInit;

public sealed class GuestFixture : IAsyncLifetime
{
    public GuestFiles Files { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Files = await GuestFiles.CreateAsync(CancellationToken.None);

    public ValueTask DisposeAsync() => Files is null ? ValueTask.CompletedTask : Files.DisposeAsync();
}

/// <summary>The real guest in a real microVM. Each test boots one, so each looks at much.</summary>
public sealed class GuestInitTests(GuestFixture fixture) : IClassFixture<GuestFixture>
{
    private readonly GuestFiles _files = fixture.Files;

    [Fact]
    public async Task A_workload_runs_as_the_image_says_and_its_exit_is_kept_until_power_off()
    {
        var disk = _files.NewDisk();
        await using var guest = await BootedGuest.BootAsync(_files, _files.BusyboxRootfs, disk);
        Assert.Equal(GuestPhase.Waiting, guest.Link.GuestHello.Phase);
        await guest.SendAsync(new Configure(BootedGuest.Config(BootedGuest.Shell(
            "id; pwd; hostname; echo $HOME $GREETING $PATH; cat /tmp/of-the-image; cat /etc/hosts; date +%Y; touch /etc/no 2>&1; echo word >&2; sync; exit 7") with
        {
            User = "app",
            WorkingDirectory = "/srv/deep/down",
            Environment = ["GREETING=hello there", "PATH=/bin:/usr/bin"],
        })));
        await guest.ReceiveAsync<WorkloadStarted>();
        var exited = await guest.ReceiveAsync<WorkloadExited>();
        Assert.Equal((7, 0, false), (exited.ExitCode, exited.Signal, exited.OomKilled));
        var output = await BootedGuest.ReadAsync(guest.Link.OpenRead(LinkStreams.Stdout));
        Assert.Equal(
            """
            uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)
            /srv/deep/down
            guest-1
            /home/app hello there /bin:/usr/bin
            still here
            127.0.0.1	localhost
            ::1	localhost ip6-localhost ip6-loopback
            127.0.1.1	guest-1
            2030
            touch: /etc/no: Permission denied

            """,
            output);
        Assert.Equal("word\n", await BootedGuest.ReadAsync(guest.Link.OpenRead(LinkStreams.Stderr)));

        // Another host finds the exit and the output where it was.
        await guest.ReconnectAsync((ulong)output.Length - 5);
        Assert.Equal(GuestPhase.Exited, guest.Link.GuestHello.Phase);
        Assert.Equal(exited, await guest.ReceiveAsync<WorkloadExited>());
        await guest.PowerOffAsync();

        var check = await CommandRunner.RunAsync("dumpe2fs", ["-h", disk]);
        Assert.Contains("Filesystem state:         clean", check.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("needs_recovery", check.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Exec_sessions_run_beside_the_workload()
    {
        await using var guest = await BootedGuest.BootAsync(_files, _files.BusyboxRootfs, _files.NewDisk());
        await guest.SendAsync(new Configure(BootedGuest.Config(BootedGuest.Shell("trap 'echo bye; exit 3' TERM; while :; do sleep 1; done"))));
        await guest.ReceiveAsync<WorkloadStarted>();

        Assert.Equal((5, "out\n", "err\n"), await guest.ExecAsync("echo out; echo err >&2; exit 5"));
        Assert.Equal((0, "0 1 2\n", ""), await guest.ExecAsync("ls /proc/self/fd | head -3 | xargs"));
        Assert.Equal((0, "1048576\n", ""), await guest.ExecAsync("ulimit -n"));
        var (_, mounts, _) = await guest.ExecAsync("cat /proc/mounts");
        foreach (var mount in (string[])["overlay / overlay", "proc /proc", "sysfs /sys", "devtmpfs /dev", "devpts /dev/pts", "shm /dev/shm", "cgroup2 /sys/fs/cgroup"])
            Assert.Contains(mount, mounts, StringComparison.Ordinal);

        // Input of a megabyte comes back whole, in order, before the exit.
        var input = string.Concat(Enumerable.Range(0, 150_000).Select(i => $"{i} "));
        var echoed = await guest.ExecAsync(new ProcessConfig { Arguments = ["cat"] }, input);
        Assert.Equal(0, echoed.ExitCode);
        Assert.Equal(input, echoed.Output);

        // A user by number, without an entry; a background process does not hold the session.
        Assert.Equal((0, "4242 4343 /\n", ""), await guest.ExecAsync(BootedGuest.Shell("sleep 1000 & echo $(id -u) $(id -g) $HOME") with { User = "4242:4343" }));
        // Refusals, with Docker's codes.
        Assert.Equal(127, (await guest.ExecAsync(new ProcessConfig { Arguments = ["nonesuch"] })).ExitCode);
        Assert.Equal(127, (await guest.ExecAsync(new ProcessConfig { Arguments = ["orphaned-script"] })).ExitCode);
        Assert.Equal(126, (await guest.ExecAsync(new ProcessConfig { Arguments = ["/etc/data"] })).ExitCode);
        var (code, _, message) = await guest.ExecAsync(BootedGuest.Shell("id") with { User = "nobody-here" });
        Assert.Equal(125, code);
        Assert.Contains("nobody-here", message, StringComparison.Ordinal);

        await TerminalAsync(guest);
        await ManyAtOnceAsync(guest);
        await OrphansAreReapedAsync(guest);

        await guest.SendAsync(new StopWorkload(15, 30_000));
        Assert.Equal(3, (await guest.ReceiveAsync<WorkloadExited>()).ExitCode);
        Assert.Equal("bye\n", await BootedGuest.ReadAsync(guest.Link.OpenRead(LinkStreams.Stdout)));
        await guest.PowerOffAsync();
    }

    private static async Task TerminalAsync(BootedGuest guest)
    {
        const uint Session = 1000;
        await guest.SendAsync(new StartExec(Session, BootedGuest.Shell("tty; stty size; read line; echo got $line; stty size; echo $TERM") with { Tty = true, Columns = 100, Rows = 30 }, true));
        var reader = guest.Link.OpenRead(LinkStreams.ExecStdout(Session));
        Assert.Equal("/dev/pts/0\r\n30 100\r\n", await BootedGuest.ReadAsync(reader, "/dev/pts/0\r\n30 100\r\n".Length));
        await guest.SendAsync(new ResizeTerminal(Session, 132, 50));
        var stdin = guest.Link.OpenWrite(LinkStreams.ExecStdin(Session));
        await stdin.WriteAsync("line\r"u8.ToArray(), TestContext.Current.CancellationToken);
        Assert.Equal("line\r\ngot line\r\n50 132\r\nxterm\r\n", await BootedGuest.ReadAsync(reader));
        Assert.Equal(0, (await guest.ReceiveAsync<ExecExited>()).ExitCode);
    }

    private static async Task ManyAtOnceAsync(BootedGuest guest)
    {
        const int Count = 100;
        for (var i = 1; i <= Count; i++)
            await guest.SendAsync(new StartExec((uint)(2000 + i), BootedGuest.Shell($"read x; for j in 1 2 3 4 5 6 7 8; do echo {i} $j; done; exit {i}"), true));
        for (var i = Count; i >= 1; i--)
            await guest.Link.OpenWrite(LinkStreams.ExecStdin((uint)(2000 + i))).WriteAsync("go\n"u8.ToArray(), TestContext.Current.CancellationToken);
        var exits = new Dictionary<uint, int>();
        while (exits.Count < Count)
        {
            var exit = await guest.ReceiveAsync<ExecExited>();
            exits.Add(exit.Session, exit.ExitCode);
        }
        for (var i = 1; i <= Count; i++)
        {
            Assert.Equal(i, exits[(uint)(2000 + i)]);
            Assert.Equal(string.Concat(Enumerable.Range(1, 8).Select(j => $"{i} {j}\n")), await BootedGuest.ReadAsync(guest.Link.OpenRead(LinkStreams.ExecStdout((uint)(2000 + i)))));
        }
    }

    private static async Task OrphansAreReapedAsync(BootedGuest guest)
    {
        var (_, zombies, _) = await guest.ExecAsync(
            "for i in 1 2 3 4 5 6 7 8; do (sleep 0.1 &) ; done; sleep 0.6; grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l");
        Assert.Equal("0\n", zombies);
    }

    [Fact]
    public async Task Output_survives_hosts_that_come_and_go_and_a_stubborn_workload_is_killed()
    {
        await using var guest = await BootedGuest.BootAsync(_files, _files.BusyboxRootfs, _files.NewDisk());
        await guest.SendAsync(new Configure(BootedGuest.Config(BootedGuest.Shell(
            "trap '' TERM; seq 1 200000; echo end; (trap '' TERM; sleep 1000) & while :; do sleep 1; done"))));
        await guest.ReceiveAsync<WorkloadStarted>();
        var expected = string.Concat(Enumerable.Range(1, 200_000).Select(i => $"{i}\n")) + "end\n";
        var durable = new StringBuilder();
        var random = new Random(1);
        while (durable.Length < expected.Length)
        {
            var reader = guest.Link.OpenRead(LinkStreams.Stdout, (ulong)durable.Length);
            durable.Append(await BootedGuest.ReadAsync(reader, Math.Min(expected.Length - durable.Length, random.Next(1, 300_000))));
            // Bytes are on their way in both directions now.
            await guest.SendAsync(new StartExec(77, BootedGuest.Shell("yes"), false));
            await guest.ReconnectAsync((ulong)durable.Length);
            Assert.Equal(GuestPhase.Running, guest.Link.GuestHello.Phase);
        }
        Assert.Equal(expected, durable.ToString());
        // Exec sessions of the hosts that went are gone with them.
        Assert.Equal((0, "0\n", ""), await guest.ExecAsync("sleep 0.2; ps | grep -v grep | grep -c 'yes$'; true"));

        await guest.SendAsync(new StopWorkload(15, 200));
        var exited = await guest.ReceiveAsync<WorkloadExited>();
        Assert.Equal((137, 9, false), (exited.ExitCode, exited.Signal, exited.OomKilled));
        await guest.PowerOffAsync();
    }

    [Fact]
    public async Task A_scratch_image_has_a_network_of_both_families_and_names()
    {
        await using var guest = await BootedGuest.BootAsync(
            _files, _files.ScratchRootfs, _files.NewDisk(),
            "-netdev", "user,id=n0,ipv4=on,ipv6=on,ipv6-net=fd00::/64", "-device", "virtio-net-device,netdev=n0,mac=02:00:00:00:00:01");
        await guest.SendAsync(new Configure(BootedGuest.Config(new ProcessConfig
        {
            Arguments = ["/busybox", "sh", "-c", "/busybox ip addr; /busybox ip route; /busybox ip -6 route; /busybox cat /etc/resolv.conf /etc/hostname; echo all said; exec /busybox sleep 1000"],
            User = "12:34",
        }) with
        {
            Network = new NetworkConfig
            {
                Mac = "06:00:ac:10:00:02",
                Addresses = ["10.0.2.15/32", "fd00::15/128"],
                Gateways = ["10.0.2.2", "fe80::2"],
                Mtu = 1400,
                Nameservers = ["10.0.2.3", "fd00::3"],
                SearchDomains = ["app.internal", "internal"],
            },
        }));
        await guest.ReceiveAsync<WorkloadStarted>();
        // Both gateways answer, at once: no address waits for duplicate detection.
        await PingAsync(guest, "10.0.2.2");
        await PingAsync(guest, "fd00::2");
        var output = "";
        var stdout = guest.Link.OpenRead(LinkStreams.Stdout);
        while (!output.EndsWith("all said\n", StringComparison.Ordinal))
            output += await BootedGuest.ReadAsync(stdout, 1);
        await guest.SendAsync(new SignalWorkload(9));
        Assert.Equal(137, (await guest.ReceiveAsync<WorkloadExited>()).ExitCode);
        Assert.Equal("", await BootedGuest.ReadAsync(guest.Link.OpenRead(LinkStreams.Stderr)));
        foreach (var expected in (string[])[
            "mtu 1400", "link/ether 06:00:ac:10:00:02", "inet 10.0.2.15/32", "inet6 fd00::15/128", "inet 127.0.0.1/8", "inet6 ::1/128",
            "default via 10.0.2.2 dev eth0", "10.0.2.2 dev eth0 scope link", "default via fe80::2 dev eth0",
            "search app.internal internal\nnameserver 10.0.2.3\nnameserver fd00::3\nguest-1\n"])
        {
            Assert.True(output.Contains(expected, StringComparison.Ordinal), $"{expected} is not in\n{output}");
        }
        Assert.DoesNotContain("tentative", output, StringComparison.Ordinal);
        await guest.PowerOffAsync();
    }

    private static async Task PingAsync(BootedGuest guest, string address)
    {
        var result = await guest.ExecAsync(new ProcessConfig { Arguments = ["/busybox", "ping", "-c", "1", "-W", "5", address] });
        if (result.ExitCode == 0)
            return;
        var state = await guest.ExecAsync(new ProcessConfig { Arguments = ["/busybox", "sh", "-c", "/busybox ip addr; /busybox ip route; /busybox ip -6 route; /busybox ip neigh; /busybox cat /proc/net/dev"] });
        Assert.Fail($"{result}\n{state.Output}");
    }

    [Fact]
    public async Task A_workload_that_cannot_start_is_reported_and_the_guest_waits()
    {
        await using var guest = await BootedGuest.BootAsync(_files, _files.BusyboxRootfs, _files.NewDisk());
        await guest.SendAsync(new Configure(BootedGuest.Config(new ProcessConfig { Arguments = ["nonesuch", "-v"] })));
        var failed = await guest.ReceiveAsync<WorkloadFailed>();
        Assert.Equal(127, failed.ExitCode);
        Assert.Contains("nonesuch", failed.Message, StringComparison.Ordinal);
        await guest.ReconnectAsync(0);
        Assert.Equal(failed, await guest.ReceiveAsync<WorkloadFailed>());
        await guest.PowerOffAsync();
    }

    [Fact]
    public async Task A_workload_killed_for_want_of_memory_says_so()
    {
        await using var guest = await BootedGuest.BootAsync(_files, _files.BusyboxRootfs, _files.NewDisk());
        await guest.SendAsync(new Configure(BootedGuest.Config(BootedGuest.Shell("exec tail /dev/zero"))));
        await guest.ReceiveAsync<WorkloadStarted>();
        var exited = await guest.ReceiveAsync<WorkloadExited>();
        Assert.Equal((137, 9, true), (exited.ExitCode, exited.Signal, exited.OomKilled));
        await guest.PowerOffAsync();
    }
}
