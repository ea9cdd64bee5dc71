using System.Text;
using System.Text.RegularExpressions;
using Ravel.Contracts.Link;
using Ravel.Link;

namespace Ravel.Testing.Link;

/// <summary>How the host took one hostile conversation.</summary>
/// <param name="Reason">Why the session ended, without the numbers in it; "closed" = by the guest, in good order.</param>
/// <param name="Bytes">What the guest sent.</param>
public sealed record FuzzOutcome(string Reason, byte[] Bytes);

/// <summary>
/// A fuzzer of the host's end of the link: conversations as a guest has them, taken apart and put together wrongly. Whatever comes,
/// the session has to end with a <see cref="LinkException"/> or as the guest closes it, in time; what its readers get is never
/// more than was sent; and nothing is left in memory. Each input follows from its seed.
/// </summary>
public static partial class LinkFuzzer
{
    private const int Execs = 3;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static readonly ulong[] Edges =
        [0, 1, 2, 3, 4, 7, 15, 16, 255, 4095, 32767, 32768, 32769, 65535, 262143, 262144, 262145, int.MaxValue, uint.MaxValue, long.MaxValue, ulong.MaxValue];

    private static readonly string[] Messages =
    [
        """{"type":"started","pid":2}""",
        """{"type":"failed","exit_code":127,"message":"x: not found"}""",
        """{"type":"exited","exit_code":0,"signal":0,"oom_killed":false}""",
        """{"type":"exec_exited","session":1,"exit_code":0,"signal":0}""",
        """{"type":"exec_exited","session":2,"exit_code":137,"signal":9}""",
        """{"type":"exec_failed","session":3,"exit_code":126,"message":"no"}""",
        RawGuest.Hello,
    ];

    /// <summary>The bytes of one conversation: a good one with something, mostly little, wrong with it.</summary>
    public static byte[] Generate(int seed)
    {
        var random = new Random(seed);
        var frames = Conversation(random);
        for (var changes = random.Next(0, 4); changes > 0; changes--)
            Change(random, frames);
        var bytes = frames.SelectMany(static f => f).ToArray();
        for (var changes = random.Next(0, 3); changes > 0 && bytes.Length > 0; changes--)
            bytes = Damage(random, bytes);
        return bytes;
    }

    /// <summary>Has the host take one conversation.</summary>
    /// <exception cref="InvalidOperationException">It did something it must not do; the message says what.</exception>
    public static async Task<FuzzOutcome> RunAsync(byte[] bytes, int seed)
    {
        using var deadline = new CancellationTokenSource(Patience);
        var (connecting, guest) = await RawGuest.GreetAsync(HostLinkOptions.Default, deadline.Token);
        // Half of them say hello first, so that the rest is about what comes after; the others hold it, or not, themselves.
        if (seed % 2 == 0)
            await guest.SendControlAsync(RawGuest.Hello);
        var sending = SendInPiecesAsync(guest, bytes, seed);
        try
        {
            string reason;
            try
            {
                await using var link = await connecting;
                var reading = UseAsync(link, bytes.Length, deadline.Token);
                try
                {
                    await link.Completion.WaitAsync(deadline.Token);
                    reason = "closed";
                }
                catch (LinkException e)
                {
                    reason = e.Message;
                }
                await reading.WaitAsync(deadline.Token);
            }
            catch (LinkException e)
            {
                reason = e.Message;
            }
            await sending.WaitAsync(deadline.Token);
            return new FuzzOutcome(Numbers().Replace(reason, "N"), bytes);
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested)
        {
            throw new InvalidOperationException($"seed {seed}: the host hangs");
        }
        catch (Exception e) when (e is not InvalidOperationException)
        {
            throw new InvalidOperationException($"seed {seed}: {e}");
        }
    }

    /// <summary>What an agent does with a link, all at once: carry output, run commands, feed them, read messages.</summary>
    private static async Task UseAsync(HostLink link, int sent, CancellationToken cancellationToken)
    {
        var uses = new List<Task<long>>
        {
            ReadAsync(link.OpenRead(LinkStreams.Stdout), cancellationToken),
            ReadAsync(link.OpenRead(LinkStreams.Stderr), cancellationToken),
        };
        var quiet = new List<Task> { ReadMessagesAsync(link, cancellationToken) };
        for (uint session = 1; session <= Execs; session++)
        {
            try
            {
                await link.SendAsync(new StartExec(session, new ProcessConfig { Arguments = ["x"] }, HasStdin: true), cancellationToken);
            }
            catch (LinkException)
            {
                break;
            }
            uses.Add(ReadAsync(link.OpenRead(LinkStreams.ExecStdout(session)), cancellationToken));
            uses.Add(ReadAsync(link.OpenRead(LinkStreams.ExecStderr(session)), cancellationToken));
            quiet.Add(FeedAsync(link, session, cancellationToken));
        }
        var read = (await Task.WhenAll(uses)).Sum();
        await Task.WhenAll(quiet);
        if (read > sent)
            throw new InvalidOperationException($"the readers got {read} bytes of {sent}");
    }

    private static async Task<long> ReadAsync(ILinkReader reader, CancellationToken cancellationToken)
    {
        long total = 0;
        var buffer = new byte[8 * 1024];
        try
        {
            int read;
            while ((read = await reader.ReadAsync(buffer, cancellationToken)) > 0)
            {
                total += read;
                reader.Consume(reader.Offset);
            }
        }
        catch (LinkException)
        {
            // As the session ends.
        }
        return total;
    }

    private static async Task ReadMessagesAsync(HostLink link, CancellationToken cancellationToken)
    {
        await foreach (var message in link.Messages.ReadAllAsync(cancellationToken))
        {
            var text = message switch { WorkloadFailed f => f.Message, ExecFailed f => f.Message, _ => "" };
            if (text.Length > 1024 || text.Any(char.IsControl))
                throw new InvalidOperationException("the host passed on text that is not one bounded line");
        }
    }

    private static async Task FeedAsync(HostLink link, uint session, CancellationToken cancellationToken)
    {
        try
        {
            var stdin = link.OpenWrite(LinkStreams.ExecStdin(session));
            await stdin.WriteAsync(new byte[1000], cancellationToken);
            await stdin.CompleteAsync(cancellationToken);
        }
        catch (LinkException)
        {
            // As the session ends.
        }
    }

    private static async Task SendInPiecesAsync(RawGuest guest, byte[] bytes, int seed)
    {
        // The host's answers have to go somewhere, or its own writes would hold it up.
        var draining = guest.DrainAsync();
        var random = new Random(~seed);
        for (var at = 0; at < bytes.Length;)
        {
            var length = Math.Min(bytes.Length - at, random.Next(4) == 0 ? random.Next(1, 40) : random.Next(1, 50_000));
            await guest.SendAsync(bytes[at..(at + length)]);
            at += length;
        }
        await guest.CloseAsync();
        await draining;
    }

    private static List<byte[]> Conversation(Random random)
    {
        var frames = new List<byte[]>();
        var offsets = new Dictionary<uint, ulong>();
        if (random.Next(4) == 0)
            frames.Add(Control(RawGuest.Hello));
        for (var left = random.Next(1, 24); left > 0; left--)
        {
            switch (random.Next(8))
            {
                case 0 or 1:
                    frames.Add(Control(random.Next(3) == 0 ? Mutate(random, Pick(random, Messages)) : Pick(random, Messages)));
                    break;
                case 2:
                    frames.Add(RawGuest.Frame(Pick(random, [FrameType.Ping, FrameType.Pong]), 0, 0, (ulong)random.NextInt64(), []));
                    break;
                case 3:
                    frames.Add(RawGuest.Frame(
                        FrameType.Window, 0, LinkStreams.ExecStdin((uint)random.Next(1, Execs + 1)), Pick(random, Edges), BitConverter.GetBytes(Pick(random, Edges))));
                    break;
                case 4:
                    frames.Add(RawGuest.Frame(FrameType.Reset, 0, (uint)random.Next(16), 0, []));
                    break;
                default:
                    var stream = Pick(random, [1u, 1u, 2u, 5u, 6u, 9u, 10u, 13u, 14u]);
                    var payload = new byte[random.Next(5) == 0 ? random.Next(LinkProtocol.MaxPayload + 1) : random.Next(100)];
                    random.NextBytes(payload);
                    var offset = offsets.GetValueOrDefault(stream);
                    frames.Add(RawGuest.Frame(FrameType.Data, random.Next(8) == 0 ? FrameFlags.End : 0, stream, offset, payload));
                    offsets[stream] = offset + (ulong)payload.Length;
                    break;
            }
        }
        return frames;
    }

    /// <summary>A change to whole frames that leaves each one well formed, or nearly.</summary>
    private static void Change(Random random, List<byte[]> frames)
    {
        var at = random.Next(frames.Count);
        var frame = frames[at];
        switch (random.Next(7))
        {
            case 0:
                frames.RemoveAt(at);
                if (frames.Count == 0)
                    frames.Add([]);
                break;
            case 1:
                frames.Insert(random.Next(frames.Count), frame);
                break;
            case 2:
                var other = random.Next(frames.Count);
                (frames[at], frames[other]) = (frames[other], frame);
                break;
            case 3:
                // Enough of the same to overrun a window or a queue.
                frames.InsertRange(at, Enumerable.Repeat(frame, Math.Min(2000, 600_000 / Math.Max(1, frame.Length))));
                break;
            case 4 when frame.Length >= LinkProtocol.HeaderLength:
                frames[at] = Reseal(frame, (FrameType)random.Next(0, 9), null, null);
                break;
            case 5 when frame.Length >= LinkProtocol.HeaderLength:
                frames[at] = Reseal(frame, null, (uint)Pick(random, Edges), null);
                break;
            case 6 when frame.Length >= LinkProtocol.HeaderLength:
                frames[at] = Reseal(frame, null, null, Pick(random, Edges));
                break;
        }
    }

    /// <summary>The frame with another header, and a checksum that is right for it.</summary>
    private static byte[] Reseal(byte[] frame, FrameType? type, uint? stream, ulong? offset)
    {
        var payload = frame.AsSpan(LinkProtocol.HeaderLength);
        return RawGuest.Frame(
            type ?? (FrameType)frame[4],
            (FrameFlags)frame[5],
            stream ?? BitConverter.ToUInt32(frame, 8),
            offset ?? BitConverter.ToUInt64(frame, 12),
            payload);
    }

    private static byte[] Damage(Random random, byte[] bytes)
    {
        var at = random.Next(bytes.Length);
        switch (random.Next(5))
        {
            case 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                return bytes;
            case 1:
                return bytes[..at];
            case 2:
                var noise = new byte[random.Next(1, 300)];
                random.NextBytes(noise);
                return [.. bytes[..at], .. noise, .. bytes[at..]];
            case 3:
                BitConverter.GetBytes((uint)Pick(random, Edges)).AsSpan(0, Math.Min(4, bytes.Length - at)).CopyTo(bytes.AsSpan(at));
                return bytes;
            default:
                return bytes[at..];
        }
    }

    private static string Mutate(Random random, string json)
    {
        var at = random.Next(json.Length);
        return random.Next(7) switch
        {
            0 => json[..at],
            1 => json[..at] + new string('[', random.Next(1, 8000)),
            2 => json.Replace("1", Pick(random, Edges).ToString()),
            3 => json.Replace("\"x", "\"" + new string('\u001b', random.Next(1, 5000))),
            4 => json.Insert(at, "\\ud800"),
            5 => json[..^1] + ",\"more\":" + json + "}",
            _ => json.Remove(at, 1),
        };
    }

    private static byte[] Control(string json)
    {
        var bytes = Encoding.UTF8.GetBytes(json);
        if (bytes.Length > LinkProtocol.MaxPayload)
            bytes = bytes[..LinkProtocol.MaxPayload];
        return RawGuest.Frame(FrameType.Control, FrameFlags.End, 0, 0, bytes);
    }

    private static T Pick<T>(Random random, T[] values) => values[random.Next(values.Length)];

    [GeneratedRegex("[0-9]+")]
    private static partial Regex Numbers();
}
