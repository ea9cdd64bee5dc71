using Ravel.Durable;

namespace Ravel.ControlPlane.Machines;

/// <summary>
/// Tells waiters that a machine changed; they read it again. Subscribe before reading: then no change is missed. What this process
/// changed is published to other servers on the same database, and what they changed is heard here.
/// </summary>
internal sealed class MachineChanges
{
    private readonly Dictionary<string, List<Subscription>> _subscriptions = [];
    private readonly Lock _lock = new();

    /// <summary>Subscribes to every machine.</summary>
    public const string Every = "";

    public Subscription Subscribe(string machineId)
    {
        var subscription = new Subscription(this, machineId);
        lock (_lock)
        {
            if (!_subscriptions.TryGetValue(machineId, out var list))
                _subscriptions.Add(machineId, list = []);
            list.Add(subscription);
        }
        return subscription;
    }

    /// <summary>A change of this process, for other servers.</summary>
    public event Action<string>? Published;

    /// <summary>Call after the commit.</summary>
    public void Notify(string machineId)
    {
        Hear(machineId);
        Published?.Invoke(machineId);
    }

    /// <summary>Any machine may have changed.</summary>
    public void HearAll()
    {
        lock (_lock)
        {
            foreach (var subscription in _subscriptions.Values.SelectMany(list => list))
                subscription.Wakeup.Set();
        }
    }

    /// <summary>Another server changed a machine.</summary>
    public void Hear(string machineId)
    {
        lock (_lock)
        {
            foreach (var subscription in _subscriptions.GetValueOrDefault(machineId) ?? [])
                subscription.Wakeup.Set();
            foreach (var subscription in _subscriptions.GetValueOrDefault(Every) ?? [])
                subscription.Wakeup.Set();
        }
    }

    private void Remove(Subscription subscription)
    {
        lock (_lock)
        {
            if (_subscriptions.TryGetValue(subscription.MachineId, out var list) && list.Remove(subscription) && list.Count == 0)
                _subscriptions.Remove(subscription.MachineId);
        }
    }

    public sealed class Subscription(MachineChanges owner, string machineId) : IDisposable
    {
        public string MachineId { get; } = machineId;

        public Wakeup Wakeup { get; } = new();

        public void Dispose()
        {
            owner.Remove(this);
            Wakeup.Dispose();
        }
    }
}
