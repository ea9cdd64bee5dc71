using Ravel.Agent.Instances;
using Ravel.Agent.Networking;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable.Workflows;
using Ravel.Testing.Agent;
using Ravel.Vmm;

namespace Ravel.Unit.Agent.Instances;

/// <summary>Machine records to begin with.</summary>
internal static class Records
{
    public static readonly DateTimeOffset Now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>Later than every deadline.</summary>
    public static readonly DateTimeOffset Late = Now + TimeSpan.FromDays(1);

    public static readonly InstanceOptions Options = new();

    private static readonly InstanceId NextId = InstanceId.Parse("01M84F5FG47PQ6A74NFHRZCBJK");

    public static VmSnapshot Memory { get; } = new("/memory/x", "fake", "1");

    public static MachineSpec OtherSpec { get; } = AgentFixture.Spec("other");

    public static DecisionContext Context(DateTimeOffset? now = null) =>
        new(now ?? Now, () => NextId, Options, StartWorkflow.Beginning, StartWorkflow.End) { AddressIndex = 1, NetworkIndex = 1 };

    public static IReadOnlyList<MachineRecord> OfEveryState() => [Without(), .. Enum.GetValues<InstanceState>().Select(state => In(state))];

    public static MachineRecord Without() => new()
    {
        Id = MachineId.Parse("0123456789abcd"),
        Generation = 1,
        Desired = DesiredState.Stopped,
        Spec = AgentFixture.Spec(),
        ObservedGeneration = 1,
        AddressIndex = 1,
        NetworkIndex = 1,
        ChangedAt = Now,
    };

    /// <summary>A machine that was told to run, in one state of its instance.</summary>
    public static MachineRecord In(InstanceState state, Func<InstanceRecord, InstanceRecord>? change = null)
    {
        var instance = new InstanceRecord
        {
            Id = InstanceId.Parse("01M84F5FG47PQ6A74NFHRZCBJA"),
            State = state,
            Generation = 1,
            Spec = AgentFixture.Spec(),
            Position = state switch
            {
                InstanceState.Starting => new WorkflowPosition(WorkflowDirection.Do, StartWorkflow.Disk),
                InstanceState.Releasing => StartWorkflow.End,
                _ => null,
            },
            Facts = state == InstanceState.Starting
                ? new StartFacts { ImageDigest = "sha256:1" }
                : new StartFacts
                {
                    ImageDigest = "sha256:1",
                    Disk = new DiskRecord("sha256:1", 16),
                    Network = new InstanceNetwork("tap", "02:00:00:00:00:01", "100.64.0.2/32", "fd00::1/128", "100.64.0.1", "fe80::1", [], 1500),
                    Vmm = new VmmRecord("fake", "x", "/run/x", 1, 2, "0/x"),
                    Memory = state == InstanceState.Suspended ? Memory : null,
                },
            StartedAt = state is InstanceState.Running or InstanceState.Suspending or InstanceState.Stopping ? Now : null,
            Deadline = state is InstanceState.Booting or InstanceState.Stopping or InstanceState.PoweringOff or InstanceState.Waiting
                ? Now + TimeSpan.FromSeconds(10)
                : null,
            IsStopRequested = state == InstanceState.Stopping,
            Exit = state is InstanceState.PoweringOff or InstanceState.Ended ? new InstanceExit(0, 0, false, Now, false) : null,
        };
        return Without() with
        {
            Desired = state switch
            {
                InstanceState.Destroying => DesiredState.Destroyed,
                InstanceState.Suspending or InstanceState.Suspended => DesiredState.Suspended,
                _ => DesiredState.Started,
            },
            Instance = change?.Invoke(instance) ?? instance,
        };
    }
}
