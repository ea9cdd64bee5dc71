using System.Globalization;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.ControlPlane.Kernels;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Machines;

/// <summary>Who asks for machines.</summary>
/// <param name="Tenant">The namespace.</param>
/// <param name="App">Of the machines.</param>
/// <param name="Owner">Id of the caller's token: of the lease, where one is asked for.</param>
/// <param name="Key">Of the caller; a request that was carried out already is answered with what it made.</param>
/// <param name="Patience">How long to look for room; zero: refuse at once.</param>
internal sealed record NewMachines(string Tenant, string App, string Owner, IdempotencyKey? Key, TimeSpan Patience);

/// <summary>
/// Makes machines: checks, holds room on nodes, commits, and has the nodes told. What was held for a machine that is not committed is given
/// back; if this process ends in between, it expires.
/// </summary>
internal sealed class MachineCreation(
    MachineStore machines, MachineGroups groups, IdempotencyKeys keys, MachineChanges changes, MachineReconciler reconciler, Placer placer, KernelPins kernels, TimeProvider time)
{
    private const int NameAttempts = 5;
    private const int MaxTogether = 1_000;

    /// <summary>What POST …/machines/bulk means: no machine's name.</summary>
    private const string Reserved = "bulk";

    public async Task<Machine> CreateAsync(NewMachines order, CreateMachineRequest request, CancellationToken cancellationToken)
    {
        var (tenant, app, owner, key, patience) = order;
        request = request with { Config = Checked(request.Config, request.Region) };
        CheckName(request.Name);
        MachineLeases.CheckSeconds("lease_ttl", request.LeaseTtl);
        using var turn = await keys.EnterAsync(key, cancellationToken);
        if (key is not null && await keys.FindAsync(key, cancellationToken) is { } made)
            return await machines.ShowMadeAsync(new MachineKey(tenant, app, made), request.LeaseTtl, cancellationToken);
        var appId = (request.Name is null
            ? await groups.AppAsync(tenant, app).WaitAsync(cancellationToken)
            : await machines.CheckNewAsync(tenant, app, request.Name, cancellationToken)).Id;
        var volumes = request.Config.Mounts is { Count: > 0 } ? await machines.HomeOfVolumesAsync(tenant, app, request.Config, cancellationToken) : null;
        var (pinned, home) = await kernels.PinAsync(request.Config, volumes, cancellationToken);
        request = request with { Config = pinned };

        var id = MachineId.New().Value;
        var allocation = (await PlaceAsync([id], PlacementOrder.Of(pinned, appId, home, 1) with { Patience = patience }, request.SkipLaunch, cancellationToken))[0];
        try
        {
            var machine = await WithFreeNamesAsync(
                // From here on the caller's going away changes nothing: what is reserved is used.
                InsertAsync,
                request.Name);
            // Another request with this key was faster.
            if (machine.Id.Value != id)
                await placer.GiveBackAsync([(id, allocation)]);
            Changed(machine.Id.Value);
            return machine;
        }
        catch
        {
            await placer.GiveBackAsync([(id, allocation)]);
            throw;
        }

        Task<Machine> InsertAsync() => key is null && request.Name is null && request.Config.Mounts is not { Count: > 0 }
            ? groups.InsertAsync(new MachineGroups.NewRow(app, () => NewRow(id, appId, tenant, request, owner, allocation), InsertAloneAsync))
            : InsertAloneAsync();

        Task<Machine> InsertAloneAsync() => machines.InsertAsync(
            tenant, app, owned => NewRow(id, owned, tenant, request, owner, allocation), key, request.LeaseTtl, CancellationToken.None);
    }

    /// <summary>Several machines of one configuration, planned and committed as one: all of them or none.</summary>
    public async Task<IReadOnlyList<Machine>> CreateManyAsync(NewMachines order, CreateMachinesRequest request, CancellationToken cancellationToken)
    {
        var (tenant, app, owner, key, patience) = order;
        if (request.Count is < 1 or > MaxTogether)
            throw ProblemException.Invalid($"count must be 1 to {MaxTogether}.");
        request = request with { Config = Checked(request.Config, request.Region) };
        if (request.Config.Mounts is { Count: > 0 })
            throw ProblemException.Invalid("config.mounts can't be given for several machines: a volume can be in one only.");
        CheckName(NameOf(request, request.Count));
        using var turn = await keys.EnterAsync(key, cancellationToken);
        if (key is not null && await keys.FindAsync(key, cancellationToken) is { } made)
            return await machines.ShowBatchAsync(app, made, cancellationToken);
        var appId = (await machines.CheckNewAsync(tenant, app, NameOf(request, 1), cancellationToken)).Id;
        var (pinned, home) = await kernels.PinAsync(request.Config, null, cancellationToken);
        request = request with { Config = pinned };

        string[] ids = [.. Enumerable.Range(0, request.Count).Select(_ => MachineId.New().Value).Order(StringComparer.Ordinal)];
        var allocations = await PlaceAsync(ids, PlacementOrder.Of(pinned, appId, home, 1) with { Patience = patience }, request.SkipLaunch, cancellationToken);
        var each = new CreateMachineRequest { Config = pinned, SkipLaunch = request.SkipLaunch };
        try
        {
            var created = await WithFreeNamesAsync(
                () => machines.InsertManyAsync(
                    tenant,
                    app,
                    owned => [.. ids.Select((id, i) =>
                    {
                        var row = NewRow(id, owned, tenant, each with { Name = NameOf(request, i + 1) }, owner, allocations[i]);
                        row.Batch = ids[0];
                        return row;
                    })],
                    key,
                    CancellationToken.None),
                request.Name);
            if (created.Count == 0 || created[0].Id.Value != ids[0])
                await placer.GiveBackAsync(ids.Zip(allocations));
            foreach (var machine in created)
                Changed(machine.Id.Value);
            return created;
        }
        catch
        {
            await placer.GiveBackAsync(ids.Zip(allocations));
            throw;
        }
    }

    private async Task<IReadOnlyList<Allocation>> PlaceAsync(
        IReadOnlyList<string> ids, PlacementOrder order, bool skipLaunch, CancellationToken cancellationToken)
    {
        if (!skipLaunch)
            return await placer.ReserveAsync(ids, order, cancellationToken);
        return order.Request.NodeId is { } home
            ? [.. ids.Select(_ => new Allocation(home, "", placer.RegionOf(home)))]
            : await placer.ChooseAsync(ids, order.Request, cancellationToken);
    }

    /// <summary>Commits; where names are made up, and one exists already, again with others.</summary>
    private static async Task<T> WithFreeNamesAsync<T>(Func<Task<T>> insert, string? name)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await insert();
            }
            catch (ProblemException e) when (e.Code == ProblemCodes.NameTaken && name is null && attempt < NameAttempts)
            {
                // Make up another.
            }
        }
    }

    private static MachineConfig Checked(MachineConfig? config, string? region)
    {
        if (config is null)
            throw ProblemException.Invalid("config must be an object with an image.");
        config = PlacementRules.WithRegion(config, region);
        MachineConfigRules.Check(config);
        return config;
    }

    private static void CheckName(string? name)
    {
        if (name is null)
            return;
        Names.Check("name", name);
        if (name == Reserved)
            throw ProblemException.Invalid($"name can't be '{Reserved}': it stands for something else in paths.");
    }

    private static string? NameOf(CreateMachinesRequest request, int number) =>
        request.Name is null ? null : string.Create(CultureInfo.InvariantCulture, $"{request.Name}-{number}");

    private void Changed(string id)
    {
        reconciler.Signal(id);
        changes.Notify(id);
    }

    private MachineRow NewRow(string id, string appId, string tenant, CreateMachineRequest request, string owner, Allocation allocation)
    {
        var now = time.GetUtcNow();
        var name = request.Name ?? MachineNames.New();
        var row = new MachineRow
        {
            Id = id,
            AppId = appId,
            Namespace = tenant,
            Name = name,
            LiveName = name,
            Config = MachineRowMapping.WriteConfig(request.Config),
            CreatedAt = now,
            UpdatedAt = now,
            Desired = request.SkipLaunch ? DesiredState.Stopped : DesiredState.Started,
            Generation = 1,
            NodeId = allocation.NodeId,
            Region = allocation.Region,
            ReservationId = allocation.ReservationId.Length == 0 ? null : allocation.ReservationId,
        };
        if (request.LeaseTtl is { } seconds)
            MachineLeases.Take(row, owner, seconds, null, now);
        return row;
    }
}
