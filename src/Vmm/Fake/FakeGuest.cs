using Ravel.Contracts.Link;
using Ravel.Link;

namespace Ravel.Vmm.Fake;

/// <summary>What a <see cref="FakeGuest"/> can do to the machine it is in.</summary>
public interface IFakeMachine
{
    TimeProvider Time { get; }

    /// <summary>The first line of the n-th drive, read from its file.</summary>
    string ReadDrive(int index);

    void WriteConsole(string text);

    /// <summary>Ends the VMM. May be called more than once; the first counts.</summary>
    void End(VmmExit exit);
}

/// <summary>
/// A guest in this process: the guest's end of the real link over any stream, with a workload that does what its
/// arguments say (<see cref="FakeProcess"/>). It outlives link sessions as ravel-init does: output nobody took is
/// kept, an exit is repeated to the next host.
/// </summary>
public sealed class FakeGuest : IGuestLinkEvents, IFakeMachine
{
    private readonly LinkServer _server;
    private volatile IFakeMachine _machine;
    private readonly GuestLink _link;
    private readonly Dictionary<uint, FakeProcess> _execs = [];
    private GuestInput? _stdin;
    private FakeProcess? _workload;
    private GuestMessage? _ended;

    public FakeGuest(IFakeMachine machine)
    {
        _machine = machine;
        _server = new LinkServer(this);
        _link = _server.Link;
    }

    public GuestPhase Phase { get; private set; } = GuestPhase.Waiting;

    /// <summary>What it was told to be, or null while it waits.</summary>
    public GuestConfig? Config { get; private set; }

    TimeProvider IFakeMachine.Time => _machine.Time;

    string IFakeMachine.ReadDrive(int index) => _machine.ReadDrive(index);

    void IFakeMachine.WriteConsole(string text) => _machine.WriteConsole(text);

    void IFakeMachine.End(VmmExit exit) => _machine.End(exit);

    /// <summary>Goes on in another VMM, with all it knows.</summary>
    internal void MoveTo(IFakeMachine machine) => _machine = machine;

    /// <summary>Speaks the link over <paramref name="channel"/> until either side closes it; one host at a time.</summary>
    public Task ServeAsync(Stream channel, CancellationToken cancellationToken) => _server.ServeAsync(channel, isLossy: false, cancellationToken);

    /// <summary>Stops taking and sending bytes, as stopped virtual CPUs do.</summary>
    public void Pause() => _server.Pause();

    public void Resume() => _server.Resume();

    /// <summary>Goes on as a guest that was saved after it had been configured: its workload runs again from the start.</summary>
    public void Continue(GuestConfig config) => _server.Do(() =>
    {
        Start(config, isRestored: true);
    });

    GuestHello IGuestLinkEvents.SessionStarted(HostHello host)
    {
        if (Phase == GuestPhase.Running)
            _stdin = _link.OpenInput(LinkStreams.Stdin);
        if (_ended is not null)
            _link.Send(_ended);
        return new GuestHello(LinkProtocol.MinimumVersion, LinkProtocol.Version, "fake", Phase, "fake");
    }

    void IGuestLinkEvents.SessionEnded()
    {
        foreach (var exec in _execs.Values)
            exec.Signal(FakeProcess.Sigkill);
        _execs.Clear();
    }

    void IGuestLinkEvents.MessageReceived(HostMessage message)
    {
        switch (message)
        {
            case Configure configure when Phase == GuestPhase.Waiting:
                Start(configure.Config, isRestored: false);
                break;
            case SignalWorkload signal:
                _workload?.Signal(signal.Signal);
                break;
            case StopWorkload stop:
                _workload?.Signal(stop.Signal);
                _workload?.KillAfter(TimeSpan.FromMilliseconds(stop.TimeoutMilliseconds));
                break;
            case StartExec exec:
                StartExec(exec);
                break;
            case SignalExec signal when _execs.TryGetValue(signal.Session, out var process):
                process.Signal(signal.Signal);
                break;
            case PowerOff:
                _machine.End(new VmmExit(VmmExitKind.GuestShutdown, "the guest powered off"));
                break;
        }
    }

    /// <summary>Writes all of <paramref name="data"/>, waiting for room as a process on a full pipe does.</summary>
    internal Task WriteAsync(GuestOutput output, ReadOnlyMemory<byte> data, CancellationToken cancellationToken) =>
        _server.WriteAsync(output, data, cancellationToken);

    /// <summary>At least one byte of standard input, or none at its end.</summary>
    internal Task<byte[]> ReadAsync(Func<GuestInput?> input, CancellationToken cancellationToken) => _server.UntilAsync(
        () =>
        {
            if (input() is not { } source)
                return null;
            var data = source.Front.ToArray();
            source.Take(data.Length);
            return data.Length > 0 || source.IsAtEnd || source.IsClosed ? data : null;
        },
        cancellationToken);

    private void Start(GuestConfig config, bool isRestored)
    {
        Config = config;
        if (FakeProcess.Refusal(config.Workload) is { } refusal)
        {
            Phase = GuestPhase.Exited;
            _ended = refusal;
            _link.Send(refusal);
            return;
        }
        Phase = GuestPhase.Running;
        _stdin = _link.OpenInput(LinkStreams.Stdin);
        if (!isRestored)
            _link.Send(new WorkloadStarted(2));
        _workload = new FakeProcess(this, this, config, config.Workload, _link.Stdout, _link.Stderr, () => _stdin);
        _workload.Start(end => _server.Do(() =>
        {
            _link.Stdout.End();
            _link.Stderr.End();
            Phase = GuestPhase.Exited;
            _ended = new WorkloadExited(end.Code, end.Signal, end.OomKilled);
            _link.Send(_ended);
        }));
    }

    private void StartExec(StartExec exec)
    {
        var (stdout, stderr, stdin) = _link.OpenExec(exec.Session);
        if (Phase != GuestPhase.Running || FakeProcess.Refusal(exec.Process) is not null)
        {
            stdout.End();
            stderr.End();
            var (code, words) = Phase == GuestPhase.Running
                ? (FakeProcess.Refusal(exec.Process)!.ExitCode, FakeProcess.Refusal(exec.Process)!.Message)
                : (125, "the workload is not running");
            _link.EndExec(exec.Session, new ExecFailed(exec.Session, code, words));
            return;
        }
        var process = new FakeProcess(this, this, Config!, exec.Process, stdout, stderr, () => stdin);
        _execs[exec.Session] = process;
        process.Start(end => _server.Do(() =>
        {
            if (_execs.Remove(exec.Session))
            {
                stdout.End();
                stderr.End();
                _link.EndExec(exec.Session, new ExecExited(exec.Session, end.Code, end.Signal));
            }
        }));
    }
}
