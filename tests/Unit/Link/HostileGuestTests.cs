using System.Text;
using CsCheck;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Testing.Link;

namespace Ravel.Unit.Link;

/// <summary>Whatever a guest sends, the host ends the session with a reason: no hang, no crash, no unbounded memory.</summary>
public sealed class HostileGuestTests
{
    private static readonly CancellationToken Deadline = TestContext.Current.CancellationToken;

    public static TheoryData<string> Violations => [.. Cases.Keys];

    private static readonly Dictionary<string, byte[]> Cases = new()
    {
        ["wrong checksum"] = Corrupt(RawGuest.Frame(FrameType.Ping, 0, 0, 1, [])),
        ["unknown type"] = RawGuest.Frame((FrameType)77, 0, 0, 0, []),
        ["type zero"] = new byte[LinkProtocol.HeaderLength],
        ["unknown flags"] = RawGuest.Frame(FrameType.Ping, (FrameFlags)0x80, 0, 0, []),
        ["endless frame"] = [.. BitConverter.GetBytes(uint.MaxValue), .. new byte[20]],
        ["frame over the limit"] = [.. BitConverter.GetBytes(LinkProtocol.MaxPayload + 1), 2, 0, .. new byte[18]],
        ["data on a stream nobody opened"] = RawGuest.Frame(FrameType.Data, 0, LinkStreams.ExecStdout(9), 0, [1]),
        ["data on standard input"] = RawGuest.Frame(FrameType.Data, 0, LinkStreams.Stdin, 0, [1]),
        ["data on the control stream"] = RawGuest.Frame(FrameType.Data, 0, 0, 0, [1]),
        ["a gap"] = RawGuest.Frame(FrameType.Data, 0, LinkStreams.Stdout, 1, [1]),
        ["an offset near the end of numbers"] = RawGuest.Frame(FrameType.Data, 0, LinkStreams.Stdout, ulong.MaxValue, [1]),
        ["an overlap"] = [.. RawGuest.Frame(FrameType.Data, 0, LinkStreams.Stdout, 0, [1, 2]), .. RawGuest.Frame(FrameType.Data, 0, LinkStreams.Stdout, 1, [1])],
        ["data behind the end"] = [.. RawGuest.Frame(FrameType.Data, FrameFlags.End, LinkStreams.Stdout, 0, []), .. RawGuest.Frame(FrameType.Data, 0, LinkStreams.Stdout, 0, [1])],
        ["a window of three bytes"] = RawGuest.Frame(FrameType.Window, 0, LinkStreams.Stdin, 0, [1, 2, 3]),
        ["control on another stream"] = RawGuest.Frame(FrameType.Control, FrameFlags.End, 5, 0, "{}"u8),
        ["no JSON"] = Control("hello?"),
        ["null"] = Control("null"),
        ["no type"] = Control("{}"),
        ["a host's message"] = Control("""{"type":"configure"}"""),
        ["unknown type of message"] = Control("""{"type":"give_me_root"}"""),
        ["a string for a number"] = Control("""{"type":"started","pid":"x"}"""),
        ["a number out of range"] = Control("""{"type":"started","pid":99999999999999}"""),
        ["nesting"] = Control("""{"type":"started","pid":""" + new string('[', 5000)),
        ["bad UTF-8"] = RawGuest.Frame(FrameType.Control, FrameFlags.End, 0, 0, [0x7b, 0xff, 0xfe, 0x7d]),
        ["a second hello"] = Control(RawGuest.Hello),
        ["an endless control message"] = [.. Enumerable.Repeat(RawGuest.Frame(FrameType.Control, 0, 0, 0, new byte[HostLink.MaxGuestMessage / 2]), 3).SelectMany(f => f)],
        ["a flood of messages"] = [.. Enumerable.Repeat(Control("""{"type":"started","pid":1}"""), HostLink.MaxWaitingMessages + 1).SelectMany(f => f)],
        ["the end of exec session 0"] = Control("""{"type":"exec_exited","session":0,"exit_code":0,"signal":0}"""),
        // 4n + 1 of this one is the workload's standard output again.
        ["the end of an exec session whose streams wrap around"] = Control("""{"type":"exec_exited","session":1073741824,"exit_code":0,"signal":0}"""),
        ["more than the window"] = TooMuch(),
    };

    [Theory]
    [MemberData(nameof(Violations))]
    public async Task A_violation_ends_the_session_with_its_reason(string violation)
    {
        var (link, guest) = await RawGuest.ConnectAsync(HostLinkOptions.Default, Deadline);
        await using var _ = link;
        var sending = guest.SendAsync(Cases[violation]);
        await Assert.ThrowsAsync<LinkException>(() => link.Completion.WaitAsync(Deadline));
        var error = await Assert.ThrowsAsync<LinkException>(async () => await link.SendAsync(new PowerOff(), Deadline));
        Assert.NotEmpty(error.Message);
        await link.DisposeAsync();
        await sending;
    }

    [Theory]
    [InlineData("""{"type":"started","pid":1}""")]
    [InlineData("""{"type":"hello","min_version":1,"version":1,"init_version":"x","phase":"dancing","kernel":"k"}""")]
    [InlineData("""{"type":"hello","min_version":1,"version":1,"init_version":"x","phase":17,"kernel":"k"}""")]
    [InlineData("""{"type":"hello","min_version":2,"version":1,"init_version":"x","phase":"waiting","kernel":"k"}""")]
    public async Task A_bad_beginning_fails_the_connection(string json)
    {
        var (connecting, guest) = await RawGuest.GreetAsync(HostLinkOptions.Default, Deadline);
        await guest.SendControlAsync(json);
        await Assert.ThrowsAsync<LinkException>(() => connecting);
    }

    [Fact]
    public async Task Data_may_not_come_before_the_hello_is_read_as_a_success()
    {
        var (connecting, guest) = await RawGuest.GreetAsync(HostLinkOptions.Default, Deadline);
        await guest.SendAsync(FrameType.Data, 0, LinkStreams.Stdout, 0, [1]);
        await guest.CloseAsync();
        await Assert.ThrowsAsync<LinkException>(() => connecting);
    }

    [Fact]
    public async Task A_link_cut_within_a_frame_is_a_fault_wherever_it_is_cut()
    {
        var whole = RawGuest.Frame(FrameType.Data, 0, LinkStreams.Stdout, 0, "hello"u8);
        for (var cut = 1; cut < whole.Length; cut++)
        {
            var (link, guest) = await RawGuest.ConnectAsync(HostLinkOptions.Default, Deadline);
            await guest.SendAsync(whole[..cut]);
            await guest.CloseAsync();
            await Assert.ThrowsAsync<LinkException>(() => link.Completion.WaitAsync(Deadline));
            await link.DisposeAsync();
        }
    }

    [Fact]
    public async Task Text_of_a_guest_is_one_bounded_line_without_control_characters()
    {
        var (link, guest) = await RawGuest.ConnectAsync(HostLinkOptions.Default, Deadline);
        await using var _ = link;
        await guest.SendControlAsync("""{"type":"failed","exit_code":127,"message":"a\u001b[2J\nb""" + new string('x', 5000) + "\"}");
        var failed = Assert.IsType<WorkloadFailed>(await link.Messages.ReadAsync(Deadline));
        Assert.StartsWith("a [2J bx", failed.Message, StringComparison.Ordinal);
        Assert.Equal(1024, failed.Message.Length);
    }

    [Fact]
    public async Task Random_bytes_never_hang_or_crash_the_host()
    {
        await Gen.Byte.Array[1, 4000].SampleAsync(
            async bytes =>
            {
                var (link, guest) = await RawGuest.ConnectAsync(HostLinkOptions.Default, Deadline);
                await guest.SendAsync(bytes);
                await guest.CloseAsync();
                await Assert.ThrowsAsync<LinkException>(() => link.Completion.WaitAsync(Deadline));
                await link.DisposeAsync();
            },
            iter: 100);
    }

    [Fact]
    public async Task A_valid_conversation_with_one_byte_changed_is_a_fault_or_harmless_but_never_wrong_data()
    {
        byte[] conversation =
        [
            .. RawGuest.Frame(FrameType.Data, 0, LinkStreams.Stdout, 0, "first"u8),
            .. Control("""{"type":"started","pid":1}"""),
            .. RawGuest.Frame(FrameType.Data, FrameFlags.End, LinkStreams.Stdout, 5, "second"u8),
        ];
        await Gen.Select(Gen.Int[0, conversation.Length - 1], Gen.Int[1, 255]).SampleAsync(
            async (at, change) =>
            {
                var bytes = conversation.ToArray();
                bytes[at] ^= (byte)change;
                var (link, guest) = await RawGuest.ConnectAsync(HostLinkOptions.Default, Deadline);
                await guest.SendAsync(bytes);
                await guest.CloseAsync();
                await Assert.ThrowsAsync<LinkException>(() => link.Completion.WaitAsync(Deadline));
                var reader = link.OpenRead(LinkStreams.Stdout);
                var text = new StringBuilder();
                var buffer = new byte[100];
                try
                {
                    int read;
                    while ((read = await reader.ReadAsync(buffer, Deadline)) > 0)
                        text.Append(Encoding.UTF8.GetString(buffer, 0, read));
                }
                catch (LinkException)
                {
                }
                Assert.StartsWith(text.ToString(), "firstsecond", StringComparison.Ordinal);
                await link.DisposeAsync();
            },
            iter: 200);
    }

    private static byte[] Control(string json) =>
        RawGuest.Frame(FrameType.Control, FrameFlags.End, 0, 0, Encoding.UTF8.GetBytes(json));

    private static byte[] Corrupt(byte[] frame)
    {
        frame[^1] ^= 1;
        return frame;
    }

    private static byte[] TooMuch()
    {
        var frames = new List<byte>();
        for (var sent = 0; sent <= LinkProtocol.InitialWindow; sent += 16 * 1024)
            frames.AddRange(RawGuest.Frame(FrameType.Data, 0, LinkStreams.Stdout, (ulong)sent, new byte[16 * 1024]));
        return [.. frames];
    }
}
