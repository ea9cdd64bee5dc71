using Ravel.Agent.Networking;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;

namespace Ravel.Testing.Agent;

/// <summary>A host's network without a kernel: what is attached, and which host ports that takes.</summary>
public sealed class FakeNodeNetwork : INodeNetwork
{
    private readonly Lock _lock = new();
    private readonly Dictionary<InstanceId, NetworkAttachment> _attached = [];

    public IReadOnlyDictionary<InstanceId, NetworkAttachment> Attached
    {
        get
        {
            lock (_lock)
                return new Dictionary<InstanceId, NetworkAttachment>(_attached);
        }
    }

    /// <summary>Sets of attachments the network was compared with.</summary>
    public List<IReadOnlyCollection<NetworkAttachment>> Reconciled { get; } = [];

    /// <summary>Host ports something else listens on.</summary>
    public HashSet<int> TakenPorts { get; } = [];

    /// <summary>Detaching fails so many times.</summary>
    public int DetachFailures { get; set; }

    public Task ReconcileAsync(IReadOnlyCollection<NetworkAttachment> wanted, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            Reconciled.Add(wanted);
            _attached.Clear();
            foreach (var attachment in wanted)
                _attached.Add(attachment.Instance, attachment);
        }
        return Task.CompletedTask;
    }

    public Task<InstanceNetwork> AttachAsync(NetworkAttachment attachment, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        lock (_lock)
        {
            var others = _attached.Values.Where(other => other.Instance != attachment.Instance).SelectMany(other => other.Ports.Select(p => p.HostPort));
            if (attachment.Ports.FirstOrDefault(port => TakenPorts.Contains(port.HostPort) || others.Contains(port.HostPort)) is { } taken)
                throw new NetworkException(ProblemCodes.PortTaken, $"port {taken.HostPort} is in use on the host");
            _attached[attachment.Instance] = attachment;
        }
        var n = attachment.AddressIndex;
        return Task.FromResult(new InstanceNetwork(
            $"fake{n}", $"02:00:00:00:{n >> 8:x2}:{n & 255:x2}", $"100.64.{n >> 8}.{n & 255}/32", $"fd00::{n:x}/128", "100.64.0.1", "fe80::1", ["100.64.0.1"], 1500));
    }

    public Task LimitAsync(InstanceId instance, long? bytesPerSecond, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (_attached.TryGetValue(instance, out var attachment))
                _attached[instance] = attachment with { BytesPerSecond = bytesPerSecond };
        }
        return Task.CompletedTask;
    }

    /// <summary>Every guest received a packet of 100 bytes and sent two of 10.</summary>
    public Task<IReadOnlyDictionary<InstanceId, GuestTraffic>> ReadTrafficAsync(CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyDictionary<InstanceId, GuestTraffic>>(Attached.Keys.ToDictionary(instance => instance, _ => new GuestTraffic(100, 1, 20, 2)));

    public Task DetachAsync(InstanceId instance, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (DetachFailures > 0)
            {
                DetachFailures--;
                throw new NetworkException(ProblemCodes.Internal, "the tap is busy");
            }
            _attached.Remove(instance);
        }
        return Task.CompletedTask;
    }
}
