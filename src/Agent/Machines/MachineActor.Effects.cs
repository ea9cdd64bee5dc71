using Microsoft.Extensions.Logging;
using Ravel.Agent.Guests;
using Ravel.Agent.Instances;
using Ravel.Agent.Logs;
using Ravel.Contracts.Api;
using Ravel.Contracts.Link;
using Ravel.Durable;
using Ravel.Durable.Workflows;
using Ravel.Vmm;

namespace Ravel.Agent.Machines;

internal sealed partial class MachineActor
{
    private static readonly BackoffPolicy UndoRetry = new(TimeSpan.FromSeconds(1), 2, TimeSpan.FromSeconds(30));

    private readonly InstanceResources _resources = new();
    private readonly StartWorkflow _start;
    private CancellationTokenSource _startCancellation = new();
    private Task _work = Task.CompletedTask;
    private ITimer? _timer;

    /// <summary>The link to the guest, while there is one.</summary>
    public GuestSession? Session => _resources.Session;

    /// <summary>The VMM, while there is a hold on one.</summary>
    public Vmm.IVmm? Vmm => _resources.Vmm;

    /// <summary>Takes over what the journal says is there. Only in the machine's mailbox, once, before any event.</summary>
    public async Task ResumeAsync()
    {
        if (_record is not { } machine)
            return;
        // Nobody else has asked yet.
        if (machine.Instance is { } instance && IsHolding(instance))
        {
            if (instance.Facts.ImageDigest is { } digest)
                _resources.Lease = TryLease(digest);
            await HoldVolumesAsync(instance);
        }
        SetTimer();
        await DoAsync(InstanceStates.Resume(machine));
    }

    /// <summary>Lets go of everything; the instance runs on.</summary>
    public async ValueTask DisposeAsync()
    {
        await _startCancellation.CancelAsync();
        await _resources.Saving.CancelAsync();
        await _work;
        await _resources.ReleaseHandlesAsync();
        if (_timer is not null)
            await _timer.DisposeAsync();
        _startCancellation.Dispose();
    }

    private async Task DoAsync(IReadOnlyList<InstanceEffect> effects)
    {
        foreach (var effect in effects)
        {
            switch (effect)
            {
                case InstanceEffect.RunWorkflow:
                    // A guest that is to be killed need not be saved to the end.
                    await _resources.Saving.CancelAsync();
                    if (_startCancellation.IsCancellationRequested)
                        _startCancellation = new CancellationTokenSource();
                    _work = RunWorkflowAsync(_work, _startCancellation.Token);
                    break;
                case InstanceEffect.CancelStart:
                    await _startCancellation.CancelAsync();
                    break;
                case InstanceEffect.Attend:
                    await AttendAsync();
                    break;
                case InstanceEffect.Limit:
                    _work = LimitAsync(_work);
                    break;
                case InstanceEffect.Save:
                    _resources.Saving = new CancellationTokenSource(_node.Services.Options.Instances.SaveTimeout, _node.Services.Time);
                    _work = SaveAsync(_work, _resources.Saving);
                    break;
                case InstanceEffect.AskStop:
                    AskStop();
                    break;
                case InstanceEffect.PowerOff:
                    _resources.Session?.PowerOff();
                    break;
                case InstanceEffect.Remove:
                    _work = RemoveAsync(_work);
                    break;
                default:
                    throw new InvalidOperationException($"{effect} is not an effect");
            }
        }
    }

    private async Task RunWorkflowAsync(Task previous, CancellationToken cancellation)
    {
        // Also leaves the mailbox, which is waited for from here.
        await previous.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        if (_record is not { Instance: { Position: { } position } instance } machine)
            return;
        var isUndoing = position.Direction == WorkflowDirection.Undo;
        var context = new StartContext(
            machine.Id, instance.Id, instance.Spec, machine.AddressIndex, machine.NetworkIndex, machine.Disk, instance.Facts);
        try
        {
            await _start.Steps.RunAsync(
                position,
                context,
                progress =>
                {
                    var hasTurned = !isUndoing && progress.Next is { Direction: WorkflowDirection.Undo };
                    var happened = hasTurned
                        ? new InstanceEvent.StartFailed(progress.Next!.Value, progress.Context.Facts, ExplainFailure(progress.Failure!))
                        {
                            IsMemoryRefused = progress.Failure is VmRestoreException,
                        }
                        : isUndoing
                            ? new InstanceEvent.StepUndone(progress.Next)
                            : (InstanceEvent)new InstanceEvent.StepDone(progress.Next, progress.Context.Facts);
                    isUndoing |= hasTurned;
                    return PostAsync(happened);
                },
                WaitToUndoAgainAsync,
                cancellation);
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException && _node.Stopping.IsCancellationRequested)
        {
            // The agent goes down; the next one goes on from the last commit.
        }
        catch (Exception e)
        {
            _node.Services.Logger.LogError(e, "The start of {Instance} stopped in the middle", instance.Id);
        }
    }

    private InstanceProblem ExplainFailure(Exception failure)
    {
        var problem = ProblemOf.Exception(failure);
        if (problem.Code == ProblemCodes.Internal && failure is not OperationCanceledException)
            _node.Services.Logger.LogError(failure, "Machine {Machine} could not be started", Id);
        return problem;
    }

    private async Task WaitToUndoAgainAsync(string step, Exception failure, int attempt)
    {
        _node.Services.Logger.LogError(failure, "Step {Step} of machine {Machine} could not be undone ({Attempt})", step, Id, attempt);
        await Task.Delay(UndoRetry.DelayAfter(attempt), _node.Services.Time, _node.Stopping);
    }

    private async Task AttendAsync()
    {
        if (_resources.Session is not null || _record?.Instance is not { Facts.Vmm: { } vmmRecord } instance)
            return;
        var isOurs = _resources.Vmm is not null;
        if (await FindVmmAsync(instance.Id, vmmRecord) is not { } vmm)
        {
            // Not waited for: this is the mailbox it goes through.
            _ = PostAsync(new InstanceEvent.VmmExited("it was gone when the agent looked for it"));
            return;
        }
        var mayHaveStood = !isOurs || instance.Facts.IsRestored || _resources.IsPaused;
        if (mayHaveStood)
        {
            // Others may have been committed than it was told.
            _work = LimitAsync(_work);
            await ContinueAsync(instance.Id, vmm);
        }
        _resources.Session = new GuestSession(
            instance.Id, vmm, _node.Services.Logs.Of(Id), ConfigureAsync, this, _node.Services.Time, _node.Services.Logger)
        {
            MayHaveStood = mayHaveStood,
            LinePatience = instance.Spec.Tty ? OutputPump.TerminalPatience : OutputPump.LinePatience,
        };
        _resources.Session.Start();
    }

    private Task<GuestConfig> ConfigureAsync(CancellationToken cancellationToken)
    {
        if (_record?.Instance is not { Facts: { ImageDigest: { } digest, Network: { } network } } instance)
            throw new InstanceException(ProblemCodes.Internal, "The guest asks for a configuration before it has one.");
        var image = ImageOf(instance)
            ?? throw new InstanceException(ProblemCodes.ImageNotFound, $"The image {digest} is no longer in the store; pull it again.");
        return Task.FromResult(GuestConfigs.For(Id, instance.Spec, image.Config, network, _node.Services.Time));
    }

    private void AskStop()
    {
        if (_record?.Instance is not { Deadline: { } deadline } instance)
            return;
        var options = _node.Services.Options.Instances;
        var left = deadline - options.StopGrace - _node.Services.Time.GetUtcNow();
        _resources.Session?.Stop(new StopWorkload(
            WorkloadPlan.StopSignal(_record.Spec, ImageOf(instance)?.Config), (int)Math.Max(0, left.TotalMilliseconds)));
    }

    private Images.StoredImage? ImageOf(InstanceRecord instance) =>
        instance.Facts.ImageDigest is { } digest ? _node.Services.Images.Find(digest) : null;

    /// <summary>A machine that runs does so from the file it has open: that its image is lost is no reason not to take it over.</summary>
    private IDisposable? TryLease(string digest)
    {
        try
        {
            return _node.Services.Images.Lease(digest);
        }
        catch (Images.ImageException e)
        {
            _node.Services.Logger.LogError("Machine {Machine} runs without its image: {Reason}", Id, e.Message);
            return null;
        }
    }

    private async Task RemoveAsync(Task previous)
    {
        await previous.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                _node.Services.Disks.Remove(Id);
                _node.Services.Logs.Remove(Id);
                await PostAsync(new InstanceEvent.Removed());
                return;
            }
            catch (IOException e)
            {
                _node.Services.Logger.LogError(e, "Disk and logs of machine {Machine} could not be removed", Id);
            }
            catch (Exception e)
            {
                if (!_node.Stopping.IsCancellationRequested)
                    _node.Services.Logger.LogError(e, "Machine {Machine} could not be forgotten", Id);
                return;
            }
            try
            {
                await Task.Delay(UndoRetry.DelayAfter(attempt), _node.Services.Time, _node.Stopping);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    /// <summary>Wakes the machine when its state has lasted as long as it may.</summary>
    private void SetTimer()
    {
        if (_record?.Instance?.Deadline is not { } deadline)
        {
            _timer?.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            return;
        }
        var due = deadline - _node.Services.Time.GetUtcNow();
        // Timers count whole milliseconds: rounded down it would come too early to mean anything.
        due = TimeSpan.FromMilliseconds(Math.Max(0, Math.Ceiling(due.TotalMilliseconds)));
        _timer ??= _node.Services.Time.CreateTimer(
            _ => _node.Mailboxes.Signal(Id), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _timer.Change(due, Timeout.InfiniteTimeSpan);
    }
}
