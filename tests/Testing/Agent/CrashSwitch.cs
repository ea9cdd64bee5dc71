using Ravel.Agent.Networking;
using Ravel.Contracts.Ids;
using Ravel.Images;
using Ravel.Vmm;

namespace Ravel.Testing.Agent;

/// <summary>Thrown at everything a crashed agent still tries.</summary>
public sealed class SimulatedCrashException() : Exception("the agent was killed");

/// <summary>
/// Kills one agent: from the moment it is thrown nothing that agent does reaches the host any more, as if its process were gone.
/// </summary>
public sealed class CrashSwitch
{
    private readonly TaskCompletionSource _killed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _isDead;
    private int _points;

    public bool IsDead => _isDead;

    /// <summary>Completes when the agent is killed.</summary>
    public Task Killed => _killed.Task;

    public void Kill()
    {
        _isDead = true;
        _killed.TrySetResult();
    }

    /// <summary>The point at which the agent is killed.</summary>
    public int? KillAt { get; init; }

    /// <summary>What the effect on a VMM of this name (<see cref="IVmmDriver"/>, <see cref="IVmm"/>) waits for; null: nothing waits.</summary>
    public EffectHold? Hold { get; set; }

    /// <summary>Passes a point.</summary>
    public void Pass()
    {
        ThrowIfDead();
        if (Interlocked.Increment(ref _points) == KillAt)
            Kill();
        ThrowIfDead();
    }

    private Task WaitAsync(string effect, CancellationToken cancellationToken) =>
        Hold is { } hold && hold.Effect == effect ? hold.WaitAsync(cancellationToken) : Task.CompletedTask;

    private async Task DoAsync(Func<Task> effect)
    {
        Pass();
        await effect();
        Pass();
    }

    private async Task<T> DoAsync<T>(Func<Task<T>> effect)
    {
        Pass();
        var result = await effect();
        Pass();
        return result;
    }

    public void ThrowIfDead()
    {
        if (_isDead)
            throw new SimulatedCrashException();
    }

    public IVmmDriver Guard(IVmmDriver driver) => new GuardedDriver(this, driver);

    public INodeNetwork Guard(INodeNetwork network) => new GuardedNetwork(this, network);

    public IImageStore Guard(IImageStore images) => new GuardedImages(this, images);

    private sealed class GuardedDriver(CrashSwitch crash, IVmmDriver driver) : IVmmDriver
    {
        public string Name => driver.Name;

        public Task<VmmProbe> ProbeAsync(CancellationToken cancellationToken) => driver.ProbeAsync(cancellationToken);

        public async Task<IVmm> LaunchAsync(VmSpec spec, CancellationToken cancellationToken)
        {
            return new GuardedVmm(crash, await crash.DoAsync(async () =>
            {
                await crash.WaitAsync(nameof(LaunchAsync), cancellationToken);
                return await driver.LaunchAsync(spec, cancellationToken);
            }));
        }

        public async Task<IVmm?> RecoverAsync(VmmRecord record, CancellationToken cancellationToken)
        {
            crash.ThrowIfDead();
            return await driver.RecoverAsync(record, cancellationToken) is { } vmm ? new GuardedVmm(crash, vmm) : null;
        }

        public Task PurgeAsync(string id, string runDirectory, CancellationToken cancellationToken)
        {
            return crash.DoAsync(() => driver.PurgeAsync(id, runDirectory, cancellationToken));
        }
    }

    private sealed class GuardedVmm(CrashSwitch crash, IVmm vmm) : IVmm
    {
        public VmmRecord Record => vmm.Record;

        public Task<VmmExit> Exited => vmm.Exited;

        public Task<GuestChannel> ConnectGuestAsync(CancellationToken cancellationToken)
        {
            crash.ThrowIfDead();
            return vmm.ConnectGuestAsync(cancellationToken);
        }

        public Task PauseAsync(CancellationToken cancellationToken) => crash.DoAsync(() => vmm.PauseAsync(cancellationToken));

        public Task ResumeAsync(CancellationToken cancellationToken) => crash.DoAsync(() => vmm.ResumeAsync(cancellationToken));

        public Task<VmSnapshot> SnapshotAsync(string directory, CancellationToken cancellationToken) =>
            crash.DoAsync(async () =>
            {
                await crash.WaitAsync(nameof(SnapshotAsync), cancellationToken);
                return await vmm.SnapshotAsync(directory, cancellationToken);
            });

        public async Task SetLimitsAsync(VmLimits limits, CancellationToken cancellationToken)
        {
            // No point of its own: it is set again by whoever adopts the VM, beside everything else.
            await crash.WaitAsync(nameof(SetLimitsAsync), cancellationToken);
            crash.ThrowIfDead();
            await vmm.SetLimitsAsync(limits, cancellationToken);
        }

        public Task<VmmMetrics> GetMetricsAsync(CancellationToken cancellationToken) => vmm.GetMetricsAsync(cancellationToken);

        public Task<string> ReadConsoleAsync(CancellationToken cancellationToken) => vmm.ReadConsoleAsync(cancellationToken);

        public Task KillAsync(CancellationToken cancellationToken)
        {
            return crash.DoAsync(() => vmm.KillAsync(cancellationToken));
        }

        public ValueTask DisposeAsync() => vmm.DisposeAsync();
    }

    private sealed class GuardedNetwork(CrashSwitch crash, INodeNetwork network) : INodeNetwork
    {
        public Task ReconcileAsync(IReadOnlyCollection<NetworkAttachment> wanted, CancellationToken cancellationToken)
        {
            crash.ThrowIfDead();
            return network.ReconcileAsync(wanted, cancellationToken);
        }

        public Task<InstanceNetwork> AttachAsync(NetworkAttachment attachment, CancellationToken cancellationToken)
        {
            return crash.DoAsync(() => network.AttachAsync(attachment, cancellationToken));
        }

        public Task LimitAsync(InstanceId instance, long? bytesPerSecond, CancellationToken cancellationToken)
        {
            crash.ThrowIfDead();
            return network.LimitAsync(instance, bytesPerSecond, cancellationToken);
        }

        public Task<IReadOnlyDictionary<InstanceId, GuestTraffic>> ReadTrafficAsync(CancellationToken cancellationToken) =>
            network.ReadTrafficAsync(cancellationToken);

        public Task DetachAsync(InstanceId instance, CancellationToken cancellationToken)
        {
            return crash.DoAsync(() => network.DetachAsync(instance, cancellationToken));
        }
    }

    private sealed class GuardedImages(CrashSwitch crash, IImageStore images) : IImageStore
    {
        public Task<StoredImage> EnsureAsync(
            string reference, PullPolicy policy, IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
        {
            crash.ThrowIfDead();
            return images.EnsureAsync(reference, policy, progress, cancellationToken);
        }

        public Task<ImageLease> AcquireAsync(
            string reference, PullPolicy policy, IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
        {
            crash.ThrowIfDead();
            return images.AcquireAsync(reference, policy, progress, cancellationToken);
        }

        public Task<StoredImage> ImportAsync(string path, string? choice, string? reference, CancellationToken cancellationToken) =>
            images.ImportAsync(path, choice, reference, cancellationToken);

        public IReadOnlyList<StoredImage> List() => images.List();

        public StoredImage? Find(string referenceOrDigest) => images.Find(referenceOrDigest);

        public Task<IReadOnlyList<string>> RemoveAsync(string referenceOrDigest, CancellationToken cancellationToken) =>
            images.RemoveAsync(referenceOrDigest, cancellationToken);

        public Task<IReadOnlyList<StoredImage>> PruneAsync(bool all, bool dryRun, CancellationToken cancellationToken) =>
            images.PruneAsync(all, dryRun, cancellationToken);

        public Task<IReadOnlyList<StoredImage>> CollectAsync(CancellationToken cancellationToken) => images.CollectAsync(cancellationToken);

        public IAsyncEnumerable<ImageVerification> VerifyAsync(string? referenceOrDigest, CancellationToken cancellationToken) =>
            images.VerifyAsync(referenceOrDigest, cancellationToken);

        public void KeepWithin(Func<long> leftBytes) => images.KeepWithin(leftBytes);

        public void KeepFor(Func<IReadOnlySet<string>> manifestDigests) => images.KeepFor(manifestDigests);

        public IDisposable Lease(string manifestDigest)
        {
            crash.ThrowIfDead();
            return images.Lease(manifestDigest);
        }
    }
}
