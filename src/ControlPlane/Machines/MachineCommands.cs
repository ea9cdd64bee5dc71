using Ravel.Contracts.Api;
using Ravel.ControlPlane.Kernels;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Machines;

/// <summary>
/// What users do to machines. Each commits what is wanted and returns; the reconciler makes the node know it. Only a start asks the
/// node first, because only the node knows whether it fits, and the caller deserves that answer. Making them is <see cref="MachineCreation"/>'s.
/// </summary>
internal sealed class MachineCommands(
    MachineStore machines, MachineChanges changes, MachineReconciler reconciler, Placer placer, KernelPins kernels, TimeProvider time)
{
    public async Task<string> StartAsync(MachineKey key, CancellationToken cancellationToken)
    {
        var allocation = await ReserveForStartAsync(key, MachineLifecycle.Start, cancellationToken);
        return await ChangeAsync(key, "start", MachineLifecycle.Start, allocation, cancellationToken);
    }

    public Task<string> StopAsync(MachineKey key, int? signal, int? timeoutSeconds, CancellationToken cancellationToken) =>
        ChangeAsync(key, "stop", (intent, seen) => MachineLifecycle.Stop(intent, seen, signal, timeoutSeconds), null, cancellationToken);

    public Task<string> SuspendAsync(MachineKey key, CancellationToken cancellationToken) =>
        ChangeAsync(key, "suspend", MachineLifecycle.Suspend, null, cancellationToken);

    public async Task<string> RestartAsync(MachineKey key, int? signal, int? timeoutSeconds, CancellationToken cancellationToken)
    {
        Verdict Decide(MachineIntent intent, MachineSighting seen) => MachineLifecycle.Restart(intent, seen, signal, timeoutSeconds);
        var allocation = await ReserveForStartAsync(key, Decide, cancellationToken);
        return await ChangeAsync(key, "restart", Decide, allocation, cancellationToken);
    }

    public Task<string> DestroyAsync(MachineKey key, bool force, CancellationToken cancellationToken) =>
        ChangeAsync(key, "destroy", (intent, seen) => MachineLifecycle.Destroy(intent, seen, force), null, cancellationToken);

    public async Task<Machine> UpdateAsync(MachineKey key, CreateMachineRequest request, CancellationToken cancellationToken)
    {
        if (request.Config is null)
            throw ProblemException.Invalid("config must be an object with an image.");
        request = request with { Config = PlacementRules.WithRegion(request.Config, request.Region) };
        MachineConfigRules.Check(request.Config);
        var current = await machines.GetAsync(key, cancellationToken);
        if (request.Name is not null && request.Name != current.Row.Name)
            throw ProblemException.Invalid($"name can't be changed; the machine is '{current.Row.Name}'.");
        var (config, _) = await kernels.PinAsync(request.Config, current.Row.NodeId, cancellationToken);

        await machines.ChangeAsync(
            key,
            "update",
            (row, now) => row.Take(Judge(row, MachineLifecycle.Update(row.Intent(), row.Sighting(), launch: !request.SkipLaunch)), now),
            cancellationToken,
            config);
        Changed(current.Row.Id);
        return await machines.ShowAsync(key, cancellationToken);
    }

    public async Task<LeaseResponse> LeaseAsync(MachineKey key, LeaseRequest? request, string owner, CancellationToken cancellationToken)
    {
        MachineLeases.CheckSeconds("ttl", request?.Ttl);
        if (request?.Description is { Length: > MachineLeases.MaxDescription })
            throw ProblemException.Invalid($"description must be at most {MachineLeases.MaxDescription} characters.");
        var (machine, _) = await machines.ChangeAsync(
            key,
            "update",
            (row, now) => MachineLeases.Take(row, owner, request?.Ttl ?? MachineLeases.DefaultSeconds, request?.Description, now),
            cancellationToken);
        return MachineLeases.Shown(machine.Row, withNonce: true);
    }

    /// <exception cref="ProblemException"><c>lease-not-found</c>.</exception>
    public async Task<LeaseResponse> ShowLeaseAsync(MachineKey key, CancellationToken cancellationToken)
    {
        var (row, _) = await machines.GetAsync(key, cancellationToken);
        return MachineLeases.IsHeld(row, time.GetUtcNow())
            ? MachineLeases.Shown(row, withNonce: key.Nonce == row.LeaseNonce)
            : throw new ProblemException(ProblemCodes.LeaseNotFound, $"Nobody has a lease on machine {row.Id} ({row.Name}).");
    }

    public Task ReleaseLeaseAsync(MachineKey key, CancellationToken cancellationToken) =>
        machines.ChangeAsync(key, "update", (row, _) => MachineLeases.Release(row), cancellationToken);

    /// <summary>Metadata is not part of what runs: it changes without a new generation.</summary>
    public async Task ChangeMetadataAsync(MachineKey key, Action<Dictionary<string, string>> change, CancellationToken cancellationToken)
    {
        var (machine, _) = await machines.ChangeAsync(
            key,
            "update",
            (row, now) =>
            {
                var config = row.ReadConfig();
                var metadata = new Dictionary<string, string>(config.Metadata ?? new Dictionary<string, string>());
                change(metadata);
                var changed = config with { Metadata = metadata };
                MachineConfigRules.Check(changed);
                row.Config = MachineRowMapping.WriteConfig(changed);
                row.UpdatedAt = now;
            },
            cancellationToken);
        changes.Notify(machine.Row.Id);
    }

    private async Task<string> ChangeAsync(
        MachineKey key,
        string eventType,
        Func<MachineIntent, MachineSighting, Verdict> decide,
        Allocation? allocation,
        CancellationToken cancellationToken)
    {
        var (machine, previous) = await machines.ChangeAsync(
            key,
            eventType,
            (row, now) =>
            {
                row.Take(Judge(row, decide(row.Intent(), row.Sighting())), now);
                if (allocation is not null && row.Desired == DesiredState.Started && row.AcceptedGeneration < row.Generation)
                    row.ReservationId = allocation.ReservationId;
            },
            cancellationToken);
        Changed(machine.Row.Id);
        return previous;
    }

    /// <summary>Asks the node for room if the command would start the machine now.</summary>
    private async Task<Allocation?> ReserveForStartAsync(
        MachineKey key, Func<MachineIntent, MachineSighting, Verdict> decide, CancellationToken cancellationToken)
    {
        var (row, _) = await machines.GetAsync(key, cancellationToken);
        var intent = Judge(row, decide(row.Intent(), row.Sighting()));
        if (intent.Desired != DesiredState.Started || intent.Generation == row.Generation)
            return null;
        var order = PlacementOrder.Of(row.ReadConfig(), row.AppId, row.NodeId, intent.Generation);
        return await placer.ReserveAgainAsync(row.Id, row.NodeId, order, cancellationToken);
    }

    private static MachineIntent Judge(MachineRow row, Verdict verdict) =>
        verdict.Intent ?? throw new ProblemException(ProblemCodes.IllegalState, $"Machine {row.Id} ({row.Name}) {verdict.Refusal}.");

    private void Changed(string id)
    {
        reconciler.Signal(id);
        changes.Notify(id);
    }
}
