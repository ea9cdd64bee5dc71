using Ravel.Contracts.Link;
using Ravel.GuestInit.Processes;
using Ravel.GuestInit.Setup;
using Ravel.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit;

internal sealed partial class Init
{
    private static readonly string Version = typeof(Init).Assembly.GetName().Version?.ToString(3) ?? "0";

    GuestHello IGuestLinkEvents.SessionStarted(HostHello host)
    {
        try
        {
            Refresh(host.UnixNanoseconds, host.Entropy);
        }
        catch (Exception e) when (e is SystemCallException or FormatException)
        {
            GuestConsole.Say($"the clock or the random pool stays as it was: {e.Message}");
        }
        // Standard input begins anew with each session.
        if (_phase == GuestPhase.Running && _config is { HasStdin: true })
            _workload?.Feed(_link.OpenInput(LinkStreams.Stdin));
        if (_end is not null)
            _link.Send(_end);
        return new GuestHello(LinkProtocol.MinimumVersion, LinkProtocol.Version, Version, _phase, _kernel);
    }

    void IGuestLinkEvents.SessionEnded()
    {
        // Nobody is left to read what they print or to be told how they ended.
        foreach (var exec in _execs.Values)
        {
            exec.Abandon();
            if (exec.Exit is null)
                Children.Kill(-exec.Pid, Kill);
        }
        _execs.Clear();
        _workload?.Feed(null);
    }

    void IGuestLinkEvents.MessageReceived(HostMessage message)
    {
        switch (message)
        {
            case Configure configure when _phase == GuestPhase.Waiting && _config is null:
                BecomeMachine(configure.Config);
                break;
            case SignalWorkload signal when IsAlive:
                _wasKilled |= signal.Signal == Kill;
                Children.Kill(_workload!.Pid, signal.Signal);
                break;
            case StopWorkload stop when IsAlive:
                _wasKilled |= stop.Signal == Kill;
                Children.Kill(_workload!.Pid, stop.Signal);
                _killAt = Math.Max(1, Environment.TickCount64 + Math.Max(0, stop.TimeoutMilliseconds));
                break;
            case StartExec exec:
                StartExecSession(exec);
                break;
            case SignalExec signal when _execs.TryGetValue(signal.Session, out var exec) && exec.Exit is null:
                Children.Kill(exec.Pid, signal.Signal);
                break;
            case ResizeTerminal resize:
                (resize.Session == 0 ? _workload : _execs.GetValueOrDefault(resize.Session))?.Resize(resize.Columns, resize.Rows);
                break;
            case PowerOff:
                _isPowerOffDue = true;
                break;
        }
    }

    private bool IsAlive => _phase == GuestPhase.Running && _workload is { Exit: null };

    private void BecomeMachine(GuestConfig config)
    {
        _config = config;
        try
        {
            Step("set the clock", () => Refresh(config.UnixNanoseconds, config.Entropy));
            Step("load drivers", () => _modules.Load("machine"));
            if (_holdsDevices)
                Step("find disks and network", HeldDevices.Release);
            _root.Mount(config.Root);
            NetworkSetup.Apply(config.Network);
            _root.Enter();
            RootFileSystem.Furnish();
            _volumes.Mount(config.Volumes);
            Machine.SetHostname(config.Hostname);
            EtcFiles.Write(config);
            _workloadGroup = ControlGroup.Create("workload");
            _execGroup = ControlGroup.Create("exec");
            _workload = GuestProcess.Start(
                config.Workload, config.Hostname, _link.Stdout, _link.Stderr,
                config.HasStdin ? _link.OpenInput(LinkStreams.Stdin) : null, _workloadGroup, _buffer);
            _children.Started();
            _phase = GuestPhase.Running;
            _link.Send(new WorkloadStarted(_workload.Pid));
        }
        catch (Exception e)
        {
            var code = e is SetupException setup ? setup.ExitCode : SetupException.SetupFailed;
            GuestConsole.Say(e.Message);
            _link.Stdout.End();
            _link.Stderr.End();
            Finish(new WorkloadFailed(code, Line(e)));
        }
    }

    private void StartExecSession(StartExec exec)
    {
        if (_execs.ContainsKey(exec.Session))
            return;
        var (stdout, stderr, stdin) = _link.OpenExec(exec.Session);
        try
        {
            if (!IsAlive)
                throw new SetupException(SetupException.SetupFailed, "the machine's workload is not running");
            _execs.Add(exec.Session, GuestProcess.Start(
                exec.Process, _config!.Hostname, stdout, stderr, exec.HasStdin ? stdin : null, _execGroup, _buffer));
            _children.Started();
        }
        catch (Exception e)
        {
            stdout.End();
            stderr.End();
            var code = e is SetupException setup ? setup.ExitCode : SetupException.SetupFailed;
            _link.EndExec(exec.Session, new ExecFailed(exec.Session, code, Line(e)));
        }
    }

    /// <summary>What a guest cannot know that was saved in between: what time it is, and what nobody else knows.</summary>
    private static void Refresh(long? unixNanoseconds, string? entropy)
    {
        const long Tolerated = 100_000_000;
        if (unixNanoseconds is { } now && Math.Abs(Machine.GetClock() - now) > Tolerated)
            Machine.SetClock(now);
        if (entropy is { Length: > 0 })
            Machine.AddEntropy(Convert.FromBase64String(entropy));
    }

    private static void Step(string what, Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is not SetupException)
        {
            throw new SetupException(SetupException.SetupFailed, $"{what}: {e.Message}");
        }
    }

    /// <summary>One line that fits a frame.</summary>
    private static string Line(Exception e)
    {
        var text = e.Message.ReplaceLineEndings(" ");
        return text.Length > MaxMessage ? text[..MaxMessage] : text;
    }
}
