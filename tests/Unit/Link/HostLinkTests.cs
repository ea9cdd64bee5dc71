using System.Text;
using Microsoft.Extensions.Time.Testing;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Testing.Link;
using Ravel.Vmm.Fake;

namespace Ravel.Unit.Link;

public sealed class HostLinkTests
{
    private static readonly HostHello Hello = new(1, 1, 0, 0);
    private static readonly CancellationToken Deadline = TestContext.Current.CancellationToken;

    private static GuestConfig Config(params string[] arguments) => new()
    {
        Hostname = "m",
        Root = new RootConfig("/dev/vda", "/dev/vdb"),
        Workload = new ProcessConfig { Arguments = arguments },
    };

    private static async Task<(HostLink Link, ScriptedGuest Guest)> ConnectAsync(ScriptedGuest? guest = null, HostHello? hello = null)
    {
        guest ??= new ScriptedGuest();
        var (host, other) = DuplexPipe.Create();
        _ = guest.RunAsync(other, isLossy: false);
        return (await HostLink.ConnectAsync(host, isLossy: false, hello ?? Hello, Deadline), guest);
    }

    private static async Task<byte[]> ReadAsync(ILinkReader reader, int count)
    {
        var data = new byte[count];
        var length = 0;
        while (length < count)
        {
            var read = await reader.ReadAsync(data.AsMemory(length), Deadline);
            if (read == 0)
                break;
            length += read;
            reader.Consume(reader.Offset);
        }
        return data[..length];
    }

    private static byte[] Pattern(int length, int seed = 1)
    {
        var data = new byte[length];
        new Random(seed).NextBytes(data);
        return data;
    }

    [Fact]
    public async Task A_guest_is_configured_runs_prints_and_exits()
    {
        var (link, guest) = await ConnectAsync();
        await using var _ = link;
        Assert.Equal(GuestPhase.Waiting, link.GuestHello.Phase);

        await link.SendAsync(new Configure(Config("/bin/true")), Deadline);
        Assert.Equal(2, Assert.IsType<WorkloadStarted>(await link.Messages.ReadAsync(Deadline)).Pid);
        await guest.WriteStdoutAsync("out"u8.ToArray());
        await guest.WriteStderrAsync("err"u8.ToArray());
        guest.Exit(7);

        Assert.Equal("out", Encoding.UTF8.GetString(await ReadAsync(link.OpenRead(LinkStreams.Stdout), 100)));
        Assert.Equal("err", Encoding.UTF8.GetString(await ReadAsync(link.OpenRead(LinkStreams.Stderr), 100)));
        Assert.Equal(7, Assert.IsType<WorkloadExited>(await link.Messages.ReadAsync(Deadline)).ExitCode);
        await link.SendAsync(new PowerOff(), Deadline);
        await guest.PoweredOff.WaitAsync(Deadline);
    }

    [Fact]
    public async Task A_large_configuration_spans_frames()
    {
        var (link, guest) = await ConnectAsync();
        await using var _ = link;
        var sent = Config("x") with
        {
            Workload = new ProcessConfig { Arguments = ["x"], Environment = [.. Enumerable.Range(0, 20_000).Select(i => $"NAME{i}=value {i}")] },
        };
        await link.SendAsync(new Configure(sent), Deadline);
        var received = await guest.Configured.WaitAsync(Deadline);
        Assert.Equal(sent.Workload.Environment, received.Workload.Environment);
    }

    [Fact]
    public async Task A_control_message_over_the_limit_is_refused_before_it_is_sent()
    {
        var (link, _) = await ConnectAsync();
        await using var _1 = link;
        var tooLong = new Configure(Config(new string('x', LinkProtocol.MaxControlMessage)));
        await Assert.ThrowsAsync<LinkException>(async () => await link.SendAsync(tooLong, Deadline));
        await link.SendAsync(new SignalWorkload(1), Deadline);
    }

    [Fact]
    public async Task An_exit_is_repeated_to_the_next_session_and_output_goes_on_where_the_host_has_it_durably()
    {
        var guest = new ScriptedGuest();
        var (first, _) = await ConnectAsync(guest);
        await first.SendAsync(new Configure(Config("x")), Deadline);
        await guest.Configured;
        var output = Pattern(1000);
        await guest.WriteStdoutAsync(output);
        Assert.Equal(output, await ReadAsync(first.OpenRead(LinkStreams.Stdout), 1000));
        await first.DisposeAsync();
        guest.Exit(3);

        var (second, _) = await ConnectAsync(guest, Hello with { StdoutOffset = 400 });
        await using var _1 = second;
        Assert.Equal(GuestPhase.Exited, second.GuestHello.Phase);
        Assert.Equal(3, Assert.IsType<WorkloadExited>(await second.Messages.ReadAsync(Deadline)).ExitCode);
        Assert.Equal(output[400..], await ReadAsync(second.OpenRead(LinkStreams.Stdout, 400), 2000));
    }

    [Fact]
    public async Task A_workload_waits_when_nobody_consumes_its_output_and_goes_on_when_someone_does()
    {
        var (link, guest) = await ConnectAsync();
        await using var _ = link;
        var output = Pattern((3 * LinkProtocol.InitialWindow) + 17);
        var writing = guest.WriteStdoutAsync(output);

        var reader = link.OpenRead(LinkStreams.Stdout);
        var buffer = new byte[LinkProtocol.InitialWindow];
        var got = 0;
        while (got < buffer.Length)
            got += await reader.ReadAsync(buffer.AsMemory(got), Deadline);
        // Read but not consumed: the guest may not forget it, so it takes no more from the workload.
        Assert.Equal(0, guest.StdoutRoom);
        Assert.False(writing.IsCompleted);
        Assert.Equal(output[..got], buffer);

        reader.Consume(reader.Offset);
        Assert.Equal(output[got..], await ReadAsync(reader, output.Length - got));
        await writing;
    }

    [Fact]
    public async Task A_stream_that_nobody_reads_holds_up_no_other()
    {
        var (link, guest) = await ConnectAsync();
        await using var _ = link;
        var stuck = guest.WriteStdoutAsync(Pattern(4 * LinkProtocol.InitialWindow));
        var output = Pattern(2 * LinkProtocol.InitialWindow, 2);
        var writing = guest.WriteStderrAsync(output);
        Assert.Equal(output, await ReadAsync(link.OpenRead(LinkStreams.Stderr), output.Length));
        await writing;
        await link.SendAsync(new StartExec(1, new ProcessConfig { Arguments = ["x"] }, false), Deadline);
        await guest.Received.ReadAsync(Deadline);
        await guest.WriteExecAsync(1, "x"u8.ToArray());
        guest.ExitExec(1, 0);
        Assert.Equal("x", Encoding.UTF8.GetString(await ReadAsync(link.OpenRead(LinkStreams.ExecStdout(1)), 2)));
        Assert.False(stuck.IsCompleted);
    }

    [Fact]
    public async Task An_exec_session_carries_input_output_and_its_exit_behind_all_output()
    {
        var (link, guest) = await ConnectAsync();
        await using var _ = link;
        await link.SendAsync(new StartExec(5, new ProcessConfig { Arguments = ["cat"] }, true), Deadline);
        await guest.Received.ReadAsync(Deadline);
        var stdin = link.OpenWrite(LinkStreams.ExecStdin(5));
        var input = Pattern(2 * LinkProtocol.InitialWindow);
        var echoing = Task.Run(async () =>
        {
            while (await guest.ReadStdinAsync(5, 5000, Deadline) is { } data)
                await guest.WriteExecAsync(5, data);
            guest.ExitExec(5, 42);
        });
        var writing = Task.Run(async () =>
        {
            await stdin.WriteAsync(input, Deadline);
            await stdin.CompleteAsync(Deadline);
        });
        var reader = link.OpenRead(LinkStreams.ExecStdout(5));
        var output = await ReadAsync(reader, input.Length - 1000);
        // 1000 bytes are unread, so the guest's report has to be behind them on the wire, not necessarily in our hands.
        Assert.Equal(input[..^1000], output);
        Assert.Equal(42, Assert.IsType<ExecExited>(await link.Messages.ReadAsync(Deadline)).ExitCode);
        Assert.Equal(input[^1000..], await ReadAsync(reader, 5000));
        Assert.Empty(await ReadAsync(link.OpenRead(LinkStreams.ExecStderr(5)), 10));
        await Task.WhenAll(echoing, writing);
    }

    [Fact]
    public async Task Input_for_a_process_that_closed_it_is_dropped()
    {
        var (link, guest) = await ConnectAsync();
        await using var _ = link;
        await link.SendAsync(new StartExec(1, new ProcessConfig { Arguments = ["true"] }, true), Deadline);
        await guest.Received.ReadAsync(Deadline);
        guest.CloseStdin(1);
        await link.OpenWrite(LinkStreams.ExecStdin(1)).WriteAsync(new byte[10 * LinkProtocol.InitialWindow], Deadline);
    }

    [Fact]
    public async Task Output_of_an_exec_session_that_the_host_gave_up_is_dropped_and_its_exit_still_comes()
    {
        var (link, guest) = await ConnectAsync();
        await using var _ = link;
        await link.SendAsync(new StartExec(1, new ProcessConfig { Arguments = ["yes"] }, false), Deadline);
        await guest.Received.ReadAsync(Deadline);
        var writing = guest.WriteExecAsync(1, new byte[10 * LinkProtocol.InitialWindow]);
        await link.OpenRead(LinkStreams.ExecStdout(1)).DisposeAsync();
        await writing;
        guest.ExitExec(1, 1);
        Assert.Equal(1, Assert.IsType<ExecExited>(await link.Messages.ReadAsync(Deadline)).ExitCode);
    }

    [Fact]
    public async Task Exec_streams_end_with_the_session_and_their_ids_can_be_used_again()
    {
        var guest = new ScriptedGuest();
        var (first, _) = await ConnectAsync(guest);
        await first.SendAsync(new StartExec(1, new ProcessConfig { Arguments = ["a"] }, false), Deadline);
        await guest.Received.ReadAsync(Deadline);
        await guest.WriteExecAsync(1, "old"u8.ToArray());
        var reader = first.OpenRead(LinkStreams.ExecStdout(1));
        Assert.Equal(3, (await ReadAsync(reader, 3)).Length);
        await first.DisposeAsync();
        await Assert.ThrowsAsync<LinkException>(async () => await reader.ReadAsync(new byte[1], Deadline));

        var (second, _) = await ConnectAsync(guest);
        await using var _1 = second;
        await second.SendAsync(new StartExec(1, new ProcessConfig { Arguments = ["b"] }, false), Deadline);
        await guest.Received.ReadAsync(Deadline);
        await guest.WriteExecAsync(1, "new"u8.ToArray());
        guest.ExitExec(1, 0);
        Assert.Equal("new", Encoding.UTF8.GetString(await ReadAsync(second.OpenRead(LinkStreams.ExecStdout(1)), 10)));
    }

    [Fact]
    public async Task A_guest_of_another_version_is_refused_with_both_ranges_named()
    {
        var guest = new ScriptedGuest { Hello = new GuestHello(7, 9, "9", GuestPhase.Waiting, "k") };
        var error = await Assert.ThrowsAsync<LinkException>(() => ConnectAsync(guest));
        Assert.Contains("7 to 9", error.Message, StringComparison.Ordinal);
        Assert.Contains("1 to 1", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Connecting_waits_for_a_guest_that_is_not_there_yet_until_cancelled()
    {
        var (host, _) = DuplexPipe.Create();
        using var cancel = new CancellationTokenSource();
        var connecting = HostLink.ConnectAsync(host, isLossy: true, Hello, cancel.Token);
        Assert.False(connecting.IsCompleted);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => connecting);
    }

    [Fact]
    public async Task A_guest_that_closes_the_channel_ends_the_session_without_a_fault()
    {
        var guest = new ScriptedGuest();
        var (host, other) = DuplexPipe.Create();
        using var gone = new CancellationTokenSource();
        _ = guest.RunAsync(other, isLossy: false, gone.Token);
        await using var link = await HostLink.ConnectAsync(host, isLossy: false, Hello, Deadline);
        await gone.CancelAsync();
        await link.Completion.WaitAsync(Deadline);
        await Assert.ThrowsAsync<LinkException>(async () => await link.OpenRead(LinkStreams.Stdout).ReadAsync(new byte[1], Deadline));
        Assert.False(await link.Messages.WaitToReadAsync(Deadline));
    }

    [Fact]
    public async Task A_silent_guest_is_pinged_and_then_taken_for_dead()
    {
        var time = new FakeTimeProvider();
        var options = new HostLinkOptions { Time = time };
        var (link, guest) = await RawGuest.ConnectAsync(options, Deadline);
        await using var _ = link;

        time.Advance(options.PingInterval);
        var ping = await guest.ReceiveAsync(Deadline);
        Assert.Equal(FrameType.Ping, ping.Header.Type);
        await guest.SendAsync(FrameType.Pong, FrameFlags.None, 0, ping.Header.Offset, []);
        await guest.SendControlAsync("""{"type":"started","pid":1}""");
        await link.Messages.ReadAsync(Deadline);

        time.Advance(options.DeadAfter - options.PingInterval);
        Assert.False(link.Completion.IsCompleted);
        time.Advance(options.PingInterval);
        var error = await Assert.ThrowsAsync<LinkException>(() => link.Completion.WaitAsync(Deadline));
        Assert.Contains("silent", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_guest_is_not_taken_for_dead_because_the_host_stood_still()
    {
        var time = new StandingTime();
        var options = new HostLinkOptions { Time = time };
        var (link, guest) = await RawGuest.ConnectAsync(options, Deadline);
        await using var _ = link;

        time.StoodStill = 10 * options.DeadAfter;
        time.Advance(options.PingInterval);

        Assert.False(link.Completion.IsCompleted);
        Assert.Equal(FrameType.Ping, (await guest.ReceiveAsync(Deadline)).Header.Type);
        time.Advance(options.DeadAfter);
        await Assert.ThrowsAsync<LinkException>(() => link.Completion.WaitAsync(Deadline));
    }

    [Fact]
    public async Task A_ping_is_answered_and_many_are_not_queued()
    {
        var (link, guest) = await RawGuest.ConnectAsync(HostLinkOptions.Default, Deadline);
        await using var _ = link;
        for (ulong i = 1; i <= 100_000; i++)
            await guest.SendAsync(FrameType.Ping, FrameFlags.None, 0, i, []);
        RawFrame pong;
        do
        {
            pong = await guest.ReceiveAsync(Deadline);
            Assert.Equal(FrameType.Pong, pong.Header.Type);
        }
        while (pong.Header.Offset != 100_000);
    }

    /// <summary>Its clock goes on while its timers do not fire.</summary>
    private sealed class StandingTime : FakeTimeProvider
    {
        public TimeSpan StoodStill { get; set; }

        public override long GetTimestamp() => base.GetTimestamp() + (long)(StoodStill.TotalSeconds * TimestampFrequency);
    }
}
