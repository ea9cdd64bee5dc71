using System.Text;
using Ravel.Contracts.Link;
using Ravel.GuestInit.Channel;
using Ravel.GuestInit.Processes;
using Ravel.GuestInit.Setup;
using Ravel.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit;

/// <summary>
/// PID 1: one loop, one thread, no locks.
/// <code>
///  Waiting ──Configure──▶ Running ──workload ends, all its output queued──▶ Exited ──PowerOff──▶ reset
///     └───────Configure that fails (125, 126, 127)─────────────────────────────▲
/// </code>
/// The exit is kept, and repeated to every host that connects, until one says PowerOff.
/// </summary>
internal sealed partial class Init : IGuestLinkEvents
{
    private const int Kill = 9;
    private const int Everyone = -1;
    private const int MaxMessage = 1000;
    private const int MaxFaults = 100;

    private readonly GuestModuleList _modules;
    private readonly GuestLink _link;
    private readonly HostChannel _channel;
    private readonly Children _children = new();
    private readonly PollSet _polls = new();
    private readonly RootFileSystem _root = new();
    private readonly VolumeMounts _volumes = new();
    private readonly byte[] _buffer = new byte[64 * 1024];
    private readonly Dictionary<uint, GuestProcess> _execs = [];
    private readonly string _kernel;
    private GuestPhase _phase = GuestPhase.Waiting;
    private GuestConfig? _config;
    private GuestProcess? _workload;
    private GuestMessage? _end;
    private long _killAt;
    private ControlGroup? _workloadGroup;
    private ControlGroup? _execGroup;
    private bool _wasKilled;
    private readonly bool _holdsDevices;
    private bool _isPowerOffDue;

    public Init(GuestModuleList modules)
    {
        _modules = modules;
        _link = new GuestLink(this);
        _kernel = Encoding.UTF8.GetString(FileSystems.ReadFile("/proc/sys/kernel/osrelease", 256) ?? []).Trim();
        _channel = HostChannel.Open(_link, modules);
        GuestConsole.Say($"the link is {_channel.Name}");
        if (!HeldDevices.IsAsked())
            return;
        _holdsDevices = true;
        HeldDevices.Hold();
        // Nothing is left to load for the machine this becomes.
        _modules.Load("machine");
    }

    /// <summary>Runs until the host says PowerOff. Returns only when the machine cannot be reset.</summary>
    public void Run()
    {
        for (var faults = 0; !_isPowerOffDue;)
        {
            try
            {
                Turn();
            }
            catch (Exception e) when (faults++ < MaxFaults)
            {
                GuestConsole.Say($"{e.GetType().Name}: {e.Message}");
            }
        }
        End();
    }

    private void Turn()
    {
        var now = Environment.TickCount64;
        _polls.Clear();
        var children = _polls.Add(_children.WakeDescriptor, PollEvents.In);
        _workload?.AddTo(_polls);
        foreach (var exec in _execs.Values)
            exec.AddTo(_polls);
        _channel.AddTo(_polls, now);
        _polls.Wait(Timeout(now));

        if (_polls.Returned(children) != PollEvents.None)
            Reap();
        _workload?.Move(_polls);
        foreach (var exec in _execs.Values)
            exec.Move(_polls);
        FinishExecs();
        FinishWorkload();
        now = Environment.TickCount64;
        if (_killAt != 0 && now >= _killAt)
        {
            _killAt = 0;
            _wasKilled = true;
            Children.Kill(Everyone, Kill);
        }
        // Last, so that what was just read goes out in the same turn.
        _channel.Move(_polls, now);
    }

    private int Timeout(long now)
    {
        if (_workload is { IsDraining: true } || _execs.Values.Any(static e => e.IsDraining))
            return 0;
        var timeout = _channel.Timeout(now);
        if (_killAt == 0)
            return timeout;
        var left = (int)Math.Clamp(_killAt - now, 0, int.MaxValue);
        return timeout < 0 ? left : Math.Min(timeout, left);
    }

    private void Reap()
    {
        while (_children.Reap() is { } exit)
        {
            if (exit.Pid == _workload?.Pid)
            {
                _workload.Ended(exit);
                // As with a container: when the workload is gone, so is all it left behind.
                Children.Kill(Everyone, Kill);
                continue;
            }
            foreach (var exec in _execs.Values)
            {
                if (exec.Pid == exit.Pid)
                    exec.Ended(exit);
            }
        }
    }

    private void FinishWorkload()
    {
        if (_phase != GuestPhase.Running || _workload is not { IsDone: true, Exit: { } exit })
            return;
        _killAt = 0;
        var code = exit.Signal == 0 ? exit.ExitCode : 128 + exit.Signal;
        // A shell whose command was killed ends with 137 as well. What the host killed was not killed for want of memory.
        var isOom = code == 128 + Kill && !_wasKilled && _workloadGroup?.CountOomKills() > 0;
        Finish(new WorkloadExited(code, exit.Signal, isOom));
    }

    private void Finish(GuestMessage end)
    {
        _phase = GuestPhase.Exited;
        _end = end;
        _link.Send(end);
    }

    private void FinishExecs()
    {
        List<uint>? done = null;
        foreach (var (session, exec) in _execs)
        {
            if (exec is not { IsDone: true, Exit: { } exit })
                continue;
            _link.EndExec(session, new ExecExited(session, exit.Signal == 0 ? exit.ExitCode : 128 + exit.Signal, exit.Signal));
            (done ??= []).Add(session);
        }
        foreach (var session in done ?? [])
            _execs.Remove(session);
    }

    private void End()
    {
        Children.Kill(Everyone, Kill);
        // They are killed, but not gone before they are reaped; one that cannot die must not keep the machine.
        for (var waited = 0; waited < 2000 && HasChildren(); waited += 10)
            Descriptors.Poll([], 10);
        _volumes.Unmount();
        _root.MakeDurable();
        Machine.Reset();
        GuestConsole.Say("the machine could not be reset");
    }

    private bool HasChildren()
    {
        while (_children.Reap() is not null)
        {
        }
        return FileSystems.ReadFile("/proc/self/task/1/children", 1 << 16) is { Length: > 0 };
    }
}
