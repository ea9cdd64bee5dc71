using System.Threading.Channels;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Vmm.Fake;

namespace Ravel.Testing.Link;

/// <summary>
/// A guest without a machine: the real <see cref="GuestLink"/> with a script for a workload. By default it starts whatever it
/// is configured to be, ends on a stop with 128 + signal, and powers off when told to. It survives sessions: run it on
/// one channel after another.
/// </summary>
public sealed class ScriptedGuest : IGuestLinkEvents
{
    private readonly LinkServer _server;
    private readonly GuestLink _link;
    private readonly Channel<HostMessage> _received = Channel.CreateUnbounded<HostMessage>();
    private readonly TaskCompletionSource _poweredOff = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<GuestConfig> _configured = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Dictionary<uint, (GuestOutput Stdout, GuestOutput Stderr, GuestInput Stdin)> _execs = [];
    private GuestInput? _stdin;
    private GuestMessage? _end;

    public ScriptedGuest()
    {
        _server = new LinkServer(this);
        _link = _server.Link;
    }

    /// <summary>Called for each message, under the guest's lock, before <see cref="Received"/> has it; true = no default action.</summary>
    public Func<ScriptedGuest, HostMessage, bool>? OnMessage { get; set; }

    public GuestPhase Phase { get; private set; } = GuestPhase.Waiting;

    /// <summary>Messages of all sessions in order.</summary>
    public ChannelReader<HostMessage> Received => _received.Reader;

    public Task PoweredOff => _poweredOff.Task;

    public Task<GuestConfig> Configured => _configured.Task;

    /// <summary>Hellos answered so far.</summary>
    public int Sessions { get; private set; }

    public GuestHello Hello { get; set; } =
        new(LinkProtocol.MinimumVersion, LinkProtocol.Version, "0.1.0-fake", GuestPhase.Waiting, "6.1.0-fake");

    /// <summary>
    /// Serves one channel until it ends, is cancelled, or (if <paramref name="isLossy"/> is false) the host breaks the protocol.
    /// A guest has one channel at a time: the next is served when the last one's end was seen.
    /// </summary>
    public Task RunAsync(Stream channel, bool isLossy, CancellationToken cancellationToken = default) =>
        Task.Run(() => _server.ServeAsync(channel, isLossy, cancellationToken), CancellationToken.None);

    public void Send(GuestMessage message) => _server.Do(() => _link.Send(message));

    public Task WriteStdoutAsync(ReadOnlyMemory<byte> data) => _server.WriteAsync(_link.Stdout, data, CancellationToken.None);

    public Task WriteStderrAsync(ReadOnlyMemory<byte> data) => _server.WriteAsync(_link.Stderr, data, CancellationToken.None);

    /// <summary>Room for workload output: 0 = the workload waits.</summary>
    public int StdoutRoom => _server.Do(() => _link.Stdout.Room);

    /// <summary>Ends the workload's output and reports its exit now and to every later session.</summary>
    public void Exit(int exitCode, int signal = 0, bool oomKilled = false) => _server.Do(() =>
    {
        _link.Stdout.End();
        _link.Stderr.End();
        Phase = GuestPhase.Exited;
        _end = new WorkloadExited(exitCode, signal, oomKilled);
        _link.Send(_end);
    });

    public void Fail(int exitCode, string message) => _server.Do(() =>
    {
        _link.Stdout.End();
        _link.Stderr.End();
        Phase = GuestPhase.Exited;
        _end = new WorkloadFailed(exitCode, message);
        _link.Send(_end);
    });

    /// <summary>Opens the streams of a session the host started.</summary>
    public void OpenExec(uint session) => _server.Do(() => _execs[session] = _link.OpenExec(session));

    public Task WriteExecAsync(uint session, ReadOnlyMemory<byte> data, bool isError = false) =>
        _server.WriteAsync(isError ? _execs[session].Stderr : _execs[session].Stdout, data, CancellationToken.None);

    public void ExitExec(uint session, int exitCode) => _server.Do(() =>
    {
        if (!_execs.Remove(session, out var streams))
            return;
        streams.Stdout.End();
        streams.Stderr.End();
        _link.EndExec(session, new ExecExited(session, exitCode, 0));
    });

    /// <summary>What the host sent on an exec session's standard input (0 = the workload's); null at its end.</summary>
    public async Task<byte[]?> ReadStdinAsync(uint session, int count = int.MaxValue, CancellationToken cancellationToken = default)
    {
        var data = await _server.UntilAsync(
            () =>
            {
                var input = session == 0 ? _stdin : _execs.TryGetValue(session, out var exec) ? exec.Stdin : null;
                if (input is { Front.Length: > 0 })
                {
                    var front = input.Front[..Math.Min(count, input.Front.Length)].ToArray();
                    input.Take(front.Length);
                    return front;
                }
                return input is { IsAtEnd: true } ? [] : null;
            },
            cancellationToken);
        return data.Length == 0 ? null : data;
    }

    /// <summary>The process closed its standard input.</summary>
    public void CloseStdin(uint session) => _server.Do(() => (session == 0 ? _stdin! : _execs[session].Stdin).Close());

    GuestHello IGuestLinkEvents.SessionStarted(HostHello host)
    {
        Sessions++;
        if (Phase == GuestPhase.Running)
            _stdin = _link.OpenInput(LinkStreams.Stdin);
        if (_end is not null)
            _link.Send(_end);
        return Hello with { Phase = Phase };
    }

    void IGuestLinkEvents.SessionEnded()
    {
        _execs.Clear();
        _stdin = null;
    }

    void IGuestLinkEvents.MessageReceived(HostMessage message)
    {
        if (OnMessage?.Invoke(this, message) != true)
            Act(message);
        _received.Writer.TryWrite(message);
    }

    private void Act(HostMessage message)
    {
        switch (message)
        {
            case Configure configure when Phase == GuestPhase.Waiting:
                Phase = GuestPhase.Running;
                _stdin = _link.OpenInput(LinkStreams.Stdin);
                _link.Send(new WorkloadStarted(2));
                _configured.TrySetResult(configure.Config);
                break;
            case StopWorkload stop when Phase == GuestPhase.Running:
                Exit(128 + stop.Signal, stop.Signal);
                break;
            case StartExec exec:
                OpenExec(exec.Session);
                break;
            case PowerOff:
                _poweredOff.TrySetResult();
                break;
        }
    }
}
