using Microsoft.Extensions.Logging;
using Ravel.Agent.Limits;
using Ravel.Agent.Networking;
using Ravel.Vmm;

namespace Ravel.Agent.Machines;

internal sealed partial class MachineActor
{
    /// <summary>How long a VMM is asked: what comes after may be its end.</summary>
    private static readonly TimeSpan LimitPatience = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Has the host keep to the limits of today. What it refuses is logged: the network is compared with the journal again and again, and the next
    /// instance, or the next agent, sets all anew.
    /// </summary>
    private async Task LimitAsync(Task previous)
    {
        await previous.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        if (_record?.Instance is not { } instance)
            return;
        try
        {
            await _node.Services.Network.LimitAsync(instance.Id, MachineLimits.NetworkBytesPerSecond(instance.Spec));
            if (_resources.Vmm is not { } vmm)
                return;
            using var patience = new CancellationTokenSource(LimitPatience, _node.Services.Time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, _node.Stopping);
            await vmm.SetLimitsAsync(MachineLimits.Of(instance.Spec), either.Token);
        }
        catch (Exception e) when (e is VmmException or NetworkException or OperationCanceledException)
        {
            _node.Services.Logger.LogWarning("Instance {Instance} keeps the limits it had: {Reason}", instance.Id, e.Message);
        }
        catch (Exception e)
        {
            // The next agent begins anew.
            if (!_node.Stopping.IsCancellationRequested)
                _node.Services.Logger.LogError(e, "The limits of machine {Machine} could not be changed", Id);
        }
    }
}
