using System.Collections.Concurrent;
using Ravel.Agent.Networking;
using Ravel.Contracts.Ids;

namespace Ravel.Agent.Instances;

/// <summary>
/// Knows what is attached at this moment, so that the network can be compared with it at any time without taking away what
/// another task is just making.
/// </summary>
internal sealed class SharedNetwork : IDisposable
{
    private const int MaxAtOnce = 64;

    private readonly INodeNetwork _network;
    private readonly ConcurrentDictionary<InstanceId, NetworkAttachment> _attached = new();
    private readonly SemaphoreSlim _permits = new(MaxAtOnce);

    private readonly bool _limits;

    /// <param name="network">The node's.</param>
    /// <param name="limits">Whether it has to limit what goes through the taps; otherwise the VMMs do.</param>
    public SharedNetwork(INodeNetwork network, bool limits)
    {
        _network = network;
        _limits = limits;
    }

    public async Task<InstanceNetwork> AttachAsync(NetworkAttachment attachment, CancellationToken cancellationToken)
    {
        attachment = Limited(attachment);
        await _permits.WaitAsync(cancellationToken);
        try
        {
            var network = await _network.AttachAsync(attachment, cancellationToken);
            _attached[attachment.Instance] = attachment;
            return network;
        }
        finally
        {
            _permits.Release();
        }
    }

    /// <summary>Changes how much may go through an instance's tap.</summary>
    /// <exception cref="NetworkException">The kernel refused; the next comparison tries again.</exception>
    public async Task LimitAsync(InstanceId instance, long? bytesPerSecond)
    {
        if (!_limits)
            return;
        await _permits.WaitAsync();
        try
        {
            if (!_attached.TryGetValue(instance, out var attachment))
                return;
            // Noted first: what fails now is made good by the next comparison.
            _attached.TryUpdate(instance, attachment with { BytesPerSecond = bytesPerSecond }, attachment);
            await _network.LimitAsync(instance, bytesPerSecond, CancellationToken.None);
        }
        finally
        {
            _permits.Release();
        }
    }

    /// <summary>What went through the taps since they were made.</summary>
    /// <exception cref="NetworkException">The kernel does not say.</exception>
    public Task<IReadOnlyDictionary<InstanceId, GuestTraffic>> ReadTrafficAsync(CancellationToken cancellationToken) =>
        _network.ReadTrafficAsync(cancellationToken);

    public async Task DetachAsync(InstanceId instance)
    {
        await _permits.WaitAsync();
        try
        {
            await _network.DetachAsync(instance, CancellationToken.None);
            _attached.TryRemove(instance, out _);
        }
        finally
        {
            _permits.Release();
        }
    }

    /// <summary>The first comparison: with what the journal says is attached.</summary>
    public Task RestoreAsync(IReadOnlyCollection<NetworkAttachment> attached, CancellationToken cancellationToken)
    {
        foreach (var attachment in attached)
            _attached[attachment.Instance] = Limited(attachment);
        return ReconcileAsync(cancellationToken);
    }

    /// <summary>Repairs what somebody else changed. Alone: nothing is attached or detached meanwhile.</summary>
    public async Task ReconcileAsync(CancellationToken cancellationToken)
    {
        var taken = 0;
        try
        {
            for (; taken < MaxAtOnce; taken++)
                await _permits.WaitAsync(cancellationToken);
            await _network.ReconcileAsync([.. _attached.Values], cancellationToken);
        }
        finally
        {
            if (taken > 0)
                _permits.Release(taken);
        }
    }

    public void Dispose() => _permits.Dispose();

    private NetworkAttachment Limited(NetworkAttachment attachment) => _limits ? attachment : attachment with { BytesPerSecond = null };
}
