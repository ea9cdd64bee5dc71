using System.Security.Cryptography;
using System.Text.Json;
using System.Threading.Channels;
using Ravel.Contracts.Link;

namespace Ravel.Link;

/// <summary>
/// The host's end of a guest link. Everything read from the guest is hostile: any violation of the protocol ends the
/// session with a <see cref="LinkException"/> as the fault of <see cref="Completion"/>; memory is bounded by the windows.
/// </summary>
/// <remarks>
/// One loop reads and never waits for anything but the channel, so a slow reader of one stream holds up no other. Frames
/// that answer the guest (windows, pongs, resets) are state that a second loop sends when it can, so a guest that
/// does not read cannot make the host queue.
/// </remarks>
public sealed partial class HostLink : IAsyncDisposable
{
    /// <summary>Longest control message taken from a guest, in bytes; those it has to send are far shorter.</summary>
    public const int MaxGuestMessage = 16 * 1024;

    /// <summary>Messages that may wait in <see cref="Messages"/>; a guest that sends more is flooding.</summary>
    public const int MaxWaitingMessages = 512;

    private readonly Stream _channel;
    private readonly HostLinkOptions _options;
    private readonly FrameSender _sender;
    private readonly CancellationTokenSource _session = new();
    private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<GuestHello> _guestHello = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Channel<GuestMessage> _messages = Channel.CreateBounded<GuestMessage>(
        new BoundedChannelOptions(MaxWaitingMessages) { SingleWriter = true });
    private readonly Lock _gate = new();
    private readonly Dictionary<uint, HostReader> _readers = [];
    private readonly Dictionary<uint, HostWriter> _writers = [];
    private readonly HostHello _hello;
    private LinkException? _ended;
    private Task _loops = Task.CompletedTask;
    private ITimer? _timer;

    private HostLink(Stream channel, HostHello hello, HostLinkOptions options)
    {
        _channel = channel;
        _hello = hello;
        _options = options;
        _sender = new FrameSender(channel, Fail, _session.Token);
        _readers[LinkStreams.Stdout] = new HostReader(this, LinkStreams.Stdout, hello.StdoutOffset);
        _readers[LinkStreams.Stderr] = new HostReader(this, LinkStreams.Stderr, hello.StderrOffset);
        _lastHeard = options.Time.GetTimestamp();
        // Nobody may be waiting for it: an end that nobody asks about is no unobserved error.
        _ = _completion.Task.ContinueWith(static t => _ = t.Exception, TaskScheduler.Default);
        _ = _guestHello.Task.ContinueWith(static t => _ = t.Exception, TaskScheduler.Default);
    }

    /// <summary>
    /// Starts a session: preamble, hello each way, version check. Returns when the guest has answered; waits for a guest that
    /// is still booting until cancelled. Takes ownership of <paramref name="channel"/>, also when it fails.
    /// </summary>
    /// <exception cref="LinkException">The guest went away, violated the protocol, or speaks no common version.</exception>
    public static Task<HostLink> ConnectAsync(Stream channel, bool isLossy, HostHello hello, CancellationToken cancellationToken) =>
        ConnectAsync(channel, isLossy, hello, HostLinkOptions.Default, cancellationToken);

    /// <inheritdoc cref="ConnectAsync(Stream, bool, HostHello, CancellationToken)"/>
    public static async Task<HostLink> ConnectAsync(
        Stream channel, bool isLossy, HostHello hello, HostLinkOptions options, CancellationToken cancellationToken)
    {
        var link = new HostLink(channel, hello, options);
        try
        {
            var preamble = new byte[FrameDecoder.PreambleLength];
            LinkProtocol.Magic.CopyTo(preamble);
            RandomNumberGenerator.Fill(preamble.AsSpan(LinkProtocol.Magic.Length));
            // A guest whose buffers are full of an earlier session's output has to be read from before it takes the preamble.
            link._loops = Task.WhenAll(link.ReceiveAsync(preamble), link.AnswerAsync());
            await link.OpenSessionAsync(preamble, isLossy, cancellationToken);
            link.GuestHello = await link._guestHello.Task.WaitAsync(cancellationToken);
            link._timer = options.Time.CreateTimer(
                static l => ((HostLink)l!).CheckPeer(), link, options.PingInterval, options.PingInterval);
            return link;
        }
        catch
        {
            await link.DisposeAsync();
            throw;
        }
    }

    public GuestHello GuestHello { get; private set; } = null!;

    /// <summary>Control messages in order; completes when the session ends.</summary>
    public ChannelReader<GuestMessage> Messages => _messages.Reader;

    /// <summary>Ends with the session: normally when the guest closed it, faulted with <see cref="LinkException"/> otherwise.</summary>
    public Task Completion => _completion.Task;

    /// <summary>
    /// Sends a control message. A <see cref="StartExec"/> also opens its session's streams, so that the guest may send on them
    /// before the caller gets to <see cref="OpenRead"/>.
    /// </summary>
    /// <exception cref="LinkException">The session is over, or the message is longer than <see cref="LinkProtocol.MaxControlMessage"/>.</exception>
    public async ValueTask SendAsync(HostMessage message, CancellationToken cancellationToken)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(message, LinkJson.Default.HostMessage);
        if (json.Length > LinkProtocol.MaxControlMessage)
            throw new LinkException($"a {message.GetType().Name} message of {json.Length} bytes exceeds {LinkProtocol.MaxControlMessage}");
        if (message is StartExec exec)
            OpenExec(exec);
        await SendControlAsync(json, cancellationToken);
    }

    /// <summary>A stream from the guest, beginning at <paramref name="offset"/> (workload output: where the hello said).</summary>
    /// <exception cref="ArgumentException">The session began at another offset.</exception>
    public ILinkReader OpenRead(uint stream, ulong offset = 0)
    {
        if (IsWorkloadOutput(stream) && offset != (stream == LinkStreams.Stdout ? _hello.StdoutOffset : _hello.StderrOffset))
            throw new ArgumentException($"stream {stream} does not begin at {offset} in this session", nameof(offset));
        lock (_gate)
        {
            if (!_readers.TryGetValue(stream, out var reader) && !_endedReaders.Remove(stream, out reader))
                _readers[stream] = reader = Started(new HostReader(this, stream, offset));
            reader.IsTaken = true;
            return reader;
        }
    }

    /// <summary>A stream to the guest.</summary>
    public ILinkWriter OpenWrite(uint stream)
    {
        lock (_gate)
        {
            if (_writers.TryGetValue(stream, out var known))
                return known;
            var writer = new HostWriter(_sender, stream);
            if (_ended is { } reason)
                writer.Break(reason);
            return _writers[stream] = writer;
        }
    }

    /// <summary>Ends the session and closes the channel. The guest keeps what was not consumed.</summary>
    public async ValueTask DisposeAsync()
    {
        End(new LinkException("the link was closed by the host"), isFault: false);
        await _channel.DisposeAsync();
        await _loops;
        if (_timer is not null)
            await _timer.DisposeAsync();
        _session.Dispose();
    }

    internal static bool IsWorkloadOutput(uint stream) => stream is LinkStreams.Stdout or LinkStreams.Stderr;

    private HostReader Started(HostReader reader)
    {
        if (_ended is { } reason)
            reader.Break(reason);
        return reader;
    }

    private LinkException Fail(Exception cause)
    {
        var reason = cause as LinkException ?? new LinkException($"the channel to the guest failed: {cause.Message}", cause);
        End(reason, isFault: true);
        return _ended!;
    }

    /// <summary>The first call decides why the session ended.</summary>
    private void End(LinkException reason, bool isFault)
    {
        HostReader[] readers;
        HostWriter[] writers;
        lock (_gate)
        {
            if (_ended is not null)
                return;
            _ended = reason;
            readers = [.. _readers.Values];
            writers = [.. _writers.Values];
        }
        foreach (var reader in readers)
            reader.Break(reason);
        foreach (var writer in writers)
            writer.Break(reason);
        _session.Cancel();
        _messages.Writer.TryComplete();
        _guestHello.TrySetException(new LinkException(reason.Message, reason));
        if (isFault)
            _completion.TrySetException(reason);
        else
            _completion.TrySetResult();
    }
}
