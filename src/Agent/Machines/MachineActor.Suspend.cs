using Microsoft.Extensions.Logging;
using Ravel.Agent.Guests;
using Ravel.Agent.Instances;
using Ravel.Agent.Logs;
using Ravel.Contracts.Ids;
using Ravel.Vmm;

namespace Ravel.Agent.Machines;

internal sealed partial class MachineActor
{
    /// <summary>Lets go of the guest, stops it and saves its memory; what it has to say after that waits in the memory.</summary>
    private async Task SaveAsync(Task previous, CancellationTokenSource saving)
    {
        await previous.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        try
        {
            if (_resources.Session is { } session)
                await session.DisposeAsync();
            _resources.Session = null;
            // What the guest said last has been heard now; it may have ended.
            if (_record is { State: InstanceState.Suspending, Instance: { Facts.Vmm: { } vmmRecord } instance })
                await SaveAsync(instance, vmmRecord, saving.Token);
            else
                await _node.Mailboxes.RunAsync(Id, _ => AttendAgainAsync(), evenWhenFull: true);
        }
        catch (Exception e)
        {
            // The next agent begins anew.
            if (!_node.Stopping.IsCancellationRequested)
                _node.Services.Logger.LogError(e, "The memory of machine {Machine} is not looked after any more", Id);
        }
        finally
        {
            // Not disposed: a command that comes now may still cancel it.
            saving.CancelAfter(Timeout.InfiniteTimeSpan);
        }
    }

    private async Task SaveAsync(InstanceRecord instance, VmmRecord vmmRecord, CancellationToken cancellationToken)
    {
        var directory = _node.Services.MemoryDirectoryOf(instance.Id);
        VmSnapshot? memory = null;
        try
        {
            var isOurs = _resources.Vmm is not null;
            if (await FindVmmAsync(instance.Id, vmmRecord) is not { } vmm)
            {
                await PostAsync(new InstanceEvent.VmmExited("it was gone before its memory was saved"));
                return;
            }
            Directory.CreateDirectory(_node.Services.MemoryDirectory);
            RemoveMemory(instance.Id);
            // From here on whoever goes back has to let it go on: it may stand still since before this agent began.
            _resources.IsPaused = true;
            // A VM that was saved already, for an agent that did not live to note it, has to run before it can be saved again.
            if (!isOurs)
                await vmm.ResumeAsync(cancellationToken);
            await vmm.PauseAsync(cancellationToken);
            memory = await vmm.SnapshotAsync(directory, cancellationToken);
        }
        catch (Exception e) when (e is VmmException or IOException or OperationCanceledException)
        {
            if (_node.Stopping.IsCancellationRequested)
                return;
            RemoveMemory(instance.Id);
            if (_record?.State == InstanceState.Suspending)
                Say(instance.Id, $"The machine could not be suspended: {ProblemOf.Exception(e).Message}");
        }
        await PostAsync(memory is null ? new InstanceEvent.SaveFailed() : new InstanceEvent.Saved(memory));
        if (_record?.Instance?.Facts.Memory is null)
            RemoveMemory(instance.Id);
    }

    private async Task AttendAgainAsync()
    {
        if (_record is { State: InstanceState.PoweringOff } machine)
            await DoAsync(InstanceStates.Resume(machine));
    }

    private async Task<IVmm?> FindVmmAsync(InstanceId instance, VmmRecord vmmRecord)
    {
        try
        {
            _resources.Vmm ??= await _node.Services.Driver.RecoverAsync(vmmRecord, _node.Stopping);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            _node.Services.Logger.LogError(e, "The VMM of {Instance} could not be recovered", instance);
        }
        return _resources.Vmm;
    }

    /// <summary>Lets a guest that may be paused go on. One that is gone is noticed by whoever watches it.</summary>
    private async Task ContinueAsync(InstanceId instance, IVmm vmm)
    {
        try
        {
            await vmm.ResumeAsync(_node.Stopping);
            _resources.IsPaused = false;
        }
        catch (VmmException e)
        {
            _node.Services.Logger.LogInformation("The VMM of {Instance} was not told to go on: {Reason}", instance, e.Message);
        }
    }

    /// <summary>Saved memory goes with the last record that names it.</summary>
    private void DropMemory(InstanceRecord? before, InstanceRecord? after)
    {
        if (before is not { Facts.Memory: not null } || (after?.Id == before.Id && after.Facts.Memory is not null))
            return;
        RemoveMemory(before.Id);
    }

    /// <summary>
    /// The one place where image and volumes are let go of: with the commit after which the instance that had them has no more use for
    /// them. An instance that is put aside keeps them: its memory holds what has not been written to them yet.
    /// </summary>
    private void ReleaseHolds(InstanceRecord? before, InstanceRecord? after)
    {
        if (after is not null && after.Id == before?.Id && IsHolding(after))
            return;
        _resources.Lease?.Dispose();
        _resources.Lease = null;
        _node.Services.Volumes.Release(Id);
    }

    private static bool IsHolding(InstanceRecord instance) =>
        instance.State is not (InstanceState.Ended or InstanceState.Waiting or InstanceState.Destroying);

    private async Task HoldVolumesAsync(InstanceRecord instance)
    {
        try
        {
            await _node.Services.Volumes.HoldAsync(Id, StartWorkflow.VolumesOf(instance.Spec), _node.Stopping);
        }
        catch (InstanceException e)
        {
            _node.Services.Logger.LogError("Instance {Instance} runs without its volume: {Reason}", instance.Id, e.Message);
        }
    }

    private void RemoveMemory(InstanceId instance)
    {
        try
        {
            var directory = _node.Services.MemoryDirectoryOf(instance);
            if (Directory.Exists(directory))
                Directory.Delete(directory, recursive: true);
        }
        catch (IOException e)
        {
            // The next agent finds it and knows that nobody needs it.
            _node.Services.Logger.LogError(e, "The memory of {Instance} could not be removed", instance);
        }
    }

    private void Say(InstanceId instance, string text)
    {
        try
        {
            _node.Services.Logs.Of(Id).AppendSystem(instance, text, UnixTime.Nanoseconds(_node.Services.Time));
        }
        catch (IOException e)
        {
            _node.Services.Logger.LogInformation("{Text} ({Reason})", text, e.Message);
        }
    }
}
