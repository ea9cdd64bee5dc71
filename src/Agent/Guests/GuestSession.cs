using System.Security.Cryptography;
using Microsoft.Extensions.Logging;
using Ravel.Agent.Logs;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Link;
using Ravel.Durable;
using Ravel.Link;
using Ravel.Vmm;

namespace Ravel.Agent.Guests;

/// <summary>
/// The agent's side of one guest for as long as its VMM runs: keeps a link to it, opens it again when it breaks, configures the
/// guest, carries its output into the log, and tells the instance what the guest says. What the agent wants of the guest (to stop,
/// to power off) is said again on every new link, so that nothing is lost with an old one.
/// </summary>
internal sealed class GuestSession : IAsyncDisposable
{
    /// <summary>Links in a row that may end in a fault before the guest is given up.</summary>
    private const int MaxFaults = 3;

    private static readonly BackoffPolicy Reconnect = new(TimeSpan.FromMilliseconds(50), 4, TimeSpan.FromSeconds(2));

    /// <summary>A link that lived this long was good, however it ended.</summary>
    private static readonly TimeSpan GoodLink = TimeSpan.FromSeconds(30);

    /// <summary>How long output that a guest says it has sent is waited for.</summary>
    private static readonly TimeSpan OutputPatience = TimeSpan.FromSeconds(30);

    private readonly InstanceId _instance;
    private readonly IVmm _vmm;
    private readonly MachineLog _log;
    private readonly Func<CancellationToken, Task<GuestConfig>> _configure;
    private readonly IGuestObserver _observer;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _ending = new();
    private readonly Lock _lock = new();
    private Task _running = Task.CompletedTask;
    private LinkUse? _current;
    private StopWorkload? _stop;
    private bool _powerOff;

    /// <param name="instance">Whose guest.</param>
    /// <param name="vmm">Where it runs.</param>
    /// <param name="log">Takes its output.</param>
    /// <param name="configure">What it is told to be, made when it asks.</param>
    /// <param name="observer">Is told what it says.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">For the operator.</param>
    public GuestSession(
        InstanceId instance,
        IVmm vmm,
        MachineLog log,
        Func<CancellationToken, Task<GuestConfig>> configure,
        IGuestObserver observer,
        TimeProvider time,
        ILogger logger)
    {
        _instance = instance;
        _vmm = vmm;
        _log = log;
        _configure = configure;
        _observer = observer;
        _time = time;
        _logger = logger;
    }

    /// <summary>How long the rest of a line of output is waited for.</summary>
    public TimeSpan LinePatience { get; init; } = OutputPump.LinePatience;

    /// <summary>The guest's CPUs may have been stopped: it is told the time, and given a seed nobody else has.</summary>
    public bool MayHaveStood { get; init; }

    public void Start() => _running = Task.WhenAll(Task.Run(() => GuardAsync(KeepLinkAsync)), Task.Run(() => GuardAsync(WatchVmmAsync)));

    /// <summary>Asks the workload to end, now and on every later link.</summary>
    public void Stop(StopWorkload stop)
    {
        lock (_lock)
            _stop = stop;
        Tell(stop);
    }

    /// <summary>Tells the guest that its exit is recorded, now and on every later link.</summary>
    public void PowerOff()
    {
        lock (_lock)
            _powerOff = true;
        Tell(new PowerOff());
    }

    /// <summary>The link that is open at this moment; null while there is none.</summary>
    public LinkUse? Current
    {
        get
        {
            lock (_lock)
                return _current;
        }
    }

    private bool IsStopAsked
    {
        get
        {
            lock (_lock)
                return _stop is not null;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        await _running;
        _ending.Dispose();
    }

    /// <summary>An error of the agent's own ends this task, not the process; nobody waits for it but <see cref="DisposeAsync"/>.</summary>
    private async Task GuardAsync(Func<Task> task)
    {
        try
        {
            await task();
        }
        catch (Exception e)
        {
            if (!_ending.IsCancellationRequested)
                _logger.LogError(e, "Instance {Instance} is no longer attended to", _instance);
        }
    }

    private void Tell(HostMessage message)
    {
        if (Current is { } use)
            _ = TellAsync(use, message);
    }

    private static async Task TellAsync(LinkUse use, HostMessage message)
    {
        try
        {
            await use.Link.SendAsync(message, CancellationToken.None);
        }
        catch (LinkException)
        {
            // The link broke: the next one says it again.
        }
    }

    private async Task WatchVmmAsync()
    {
        try
        {
            var exit = await _vmm.Exited.WaitAsync(_ending.Token);
            // What the VMM's death cut off is not a fault of the guest.
            await _observer.VmmExitedAsync(exit.Detail);
        }
        catch (OperationCanceledException) when (_ending.IsCancellationRequested)
        {
            // Not watched any more.
        }
        catch (Exception e)
        {
            await _observer.VmmExitedAsync($"the VMM cannot be watched: {e.Message}");
        }
    }

    private async Task KeepLinkAsync()
    {
        var faults = 0;
        while (!_ending.IsCancellationRequested)
        {
            var begin = _time.GetTimestamp();
            try
            {
                await UseLinkAsync();
                faults = 0;
            }
            catch (OperationCanceledException) when (_ending.IsCancellationRequested)
            {
                return;
            }
            catch (InstanceException e)
            {
                await _observer.GuestBrokenAsync(e.Message);
                return;
            }
            catch (Exception e)
            {
                faults = _time.GetElapsedTime(begin) >= GoodLink ? 1 : faults + 1;
                _logger.LogInformation("The link to {Instance} broke ({Faults}): {Reason}", _instance, faults, e.Message);
                if (_vmm.Exited.IsCompleted)
                    return;
                if (faults >= MaxFaults)
                {
                    await _observer.GuestBrokenAsync($"The guest broke its link {faults} times: {e.Message}");
                    return;
                }
            }
            try
            {
                await Task.Delay(Reconnect.DelayAfter(Math.Max(1, faults)), _time, _ending.Token);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private async Task UseLinkAsync()
    {
        var channel = await _vmm.ConnectGuestAsync(_ending.Token);
        var offsets = _log.OffsetsOf(_instance);
        var hello = new HostHello(LinkProtocol.MinimumVersion, LinkProtocol.Version, offsets.Stdout, offsets.Stderr)
        {
            Entropy = MayHaveStood ? Convert.ToBase64String(RandomNumberGenerator.GetBytes(64)) : null,
            UnixNanoseconds = MayHaveStood ? UnixTime.Nanoseconds(_time) : null,
        };
        await using var link = await HostLink.ConnectAsync(channel.Stream, channel.IsLossy, hello, _ending.Token);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(_ending.Token);
        var output = Task.WhenAll(
            PumpAsync(link, LogStream.Stdout, offsets.Stdout, ended.Token),
            PumpAsync(link, LogStream.Stderr, offsets.Stderr, ended.Token));
        var use = new LinkUse(link);
        try
        {
            await GreetAsync(link);
            StopWorkload? stop;
            bool powerOff;
            lock (_lock)
            {
                // From here on Stop and PowerOff tell it themselves.
                _current = use;
                (stop, powerOff) = (_stop, _powerOff);
            }
            if (stop is not null)
                await link.SendAsync(stop, _ending.Token);
            if (powerOff)
                await link.SendAsync(new PowerOff(), _ending.Token);
            await ReadMessagesAsync(use, output);
            await link.Completion;
        }
        finally
        {
            lock (_lock)
                _current = null;
            use.End();
            await ended.CancelAsync();
            await output;
        }
    }

    private async Task GreetAsync(HostLink link)
    {
        switch (link.GuestHello.Phase)
        {
            case GuestPhase.Waiting when _observer.ExpectsRunningGuest:
                throw new InstanceException(Contracts.Api.ProblemCodes.GuestFailed, "The guest started anew; its workload is lost.");
            case GuestPhase.Waiting when IsStopAsked:
                // There is no workload to stop, and none shall begin.
                await link.SendAsync(new PowerOff(), _ending.Token);
                break;
            case GuestPhase.Waiting:
                await link.SendAsync(new Configure(await _configure(_ending.Token)), _ending.Token);
                break;
            case GuestPhase.Running:
                await _observer.GuestStartedAsync();
                break;
            default:
                // An exited guest repeats how it ended.
                break;
        }
    }

    private async Task ReadMessagesAsync(LinkUse use, Task<bool[]> output)
    {
        await foreach (var message in use.Link.Messages.ReadAllAsync(_ending.Token))
        {
            switch (message)
            {
                case WorkloadStarted:
                    await _observer.GuestStartedAsync();
                    break;
                case WorkloadFailed failed:
                    await _observer.GuestFailedAsync(Clamp(failed.ExitCode), failed.Message);
                    break;
                case WorkloadExited exited:
                    // The exit is recorded when the output is: whoever sees the one finds the other.
                    await DrainAsync(output);
                    await _observer.GuestExitedAsync(exited with { ExitCode = Clamp(exited.ExitCode), Signal = Clamp(exited.Signal) });
                    break;
                case ExecExited exited:
                    use.CompleteExec(exited.Session, new ExecEnd(Clamp(exited.ExitCode), Clamp(exited.Signal), null));
                    break;
                case ExecFailed failed:
                    use.CompleteExec(failed.Session, new ExecEnd(Clamp(failed.ExitCode), 0, failed.Message));
                    break;
                default:
                    throw new LinkException($"the guest sent a {message.GetType().Name} out of turn");
            }
        }
    }

    private async Task DrainAsync(Task<bool[]> output)
    {
        using var patience = new CancellationTokenSource(OutputPatience, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, _ending.Token);
        try
        {
            if ((await output.WaitAsync(either.Token)).All(isWhole => isWhole))
                return;
        }
        catch (OperationCanceledException) when (!_ending.IsCancellationRequested)
        {
            throw new LinkException("the guest reported its exit but did not end its output");
        }
        // It ended with the link: the guest sends the rest, and its exit, on the next one.
        throw new LinkException("the link ended before the guest's output did");
    }

    /// <returns>Whether the stream was carried to its end.</returns>
    private async Task<bool> PumpAsync(HostLink link, LogStream stream, ulong offset, CancellationToken cancellationToken)
    {
        try
        {
            var reader = link.OpenRead(stream == LogStream.Stdout ? LinkStreams.Stdout : LinkStreams.Stderr, offset);
            await new OutputPump(_log, _instance, stream, _time, LinePatience).RunAsync(reader, cancellationToken);
            return true;
        }
        catch (Exception e) when (e is LinkException or OperationCanceledException)
        {
            // The link's own end says why; the guest keeps what is not in the log.
            return false;
        }
    }

    /// <summary>An exit status has eight bits, whatever a guest says.</summary>
    private static int Clamp(int code) => code is >= 0 and <= 255 ? code : 255;
}
