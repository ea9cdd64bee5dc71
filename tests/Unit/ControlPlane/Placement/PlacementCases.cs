using System.Collections.Frozen;
using CsCheck;
using Ravel.ControlPlane.Placement;

namespace Ravel.Unit.ControlPlane.Placement;

/// <summary>Nodes and requests for the planner's tests, and a second opinion on what fits that shares no code with it.</summary>
internal static class PlacementCases
{
    public static readonly ResourceAmounts Small = new(1, 256, 0, 1);

    private static readonly Gen<ResourceAmounts> Wanted = Gen.Select(
        Gen.Int[0, 3], Gen.Int[0, 6], Gen.Int[0, 3], (cpus, memory, disk) => new ResourceAmounts(cpus, memory * 128, disk * 100, 1));

    private static readonly Gen<FrozenDictionary<string, string>> Labels = Gen.Select(
        Pick("", "ssd", "hdd"), Gen.Bool, (disk, gpu) => Dictionary(disk.Length > 0 ? ("disk", disk) : null, gpu ? ("gpu", "yes") : null));

    private static readonly Gen<(ResourceAmounts Capacity, ResourceAmounts Allocated, double Overcommit)> Room = Gen.Select(
        Gen.Int[1, 8], Gen.Int[1, 16], Gen.Int[0, 10], Gen.Int[0, 8], Gen.Double[0, 1.2], Pick(1, 1.5, 2),
        (cpus, memory, disk, slots, used, overcommit) => (
            new ResourceAmounts(cpus, memory * 128, disk * 100, slots),
            new ResourceAmounts((long)(cpus * used), (long)(memory * 128 * used), (long)(disk * 100 * used), (long)(slots * used)),
            overcommit));

    private static readonly Gen<NodeView> AnyNode = Gen.Select(
        Pick("eu", "us"),
        Pick("a", "b", ""),
        Labels,
        Gen.Frequency((9, Gen.Const("amd64")), (1, Gen.Const("arm64"))),
        Pick("kvm", "tcg"),
        Gen.Frequency((7, Gen.Const(NodeCondition.Ready)), (1, Gen.Const(NodeCondition.Cordoned)), (1, Gen.Const(NodeCondition.Draining)), (1, Gen.Const(NodeCondition.Unreachable))),
        Room,
        Gen.Select(Gen.Double[0, 1], Gen.Bool, Gen.Int[0, 2]),
        (region, zone, labels, architecture, accelerator, condition, room, rest) => new NodeView
        {
            Id = "unnamed",
            Region = region,
            Zone = zone,
            Labels = labels,
            Architecture = architecture,
            Features = FrozenSet.Create(StringComparer.Ordinal, "qemu", accelerator),
            Condition = condition,
            Capacity = room.Capacity,
            Allocated = room.Allocated,
            CpuOvercommit = room.Overcommit,
            Load = rest.Item1,
            Images = rest.Item2 ? FrozenSet.Create(StringComparer.Ordinal, "sha256:1") : FrozenSet<string>.Empty,
            Apps = rest.Item3 > 0 ? new Dictionary<string, int> { ["app"] = rest.Item3 }.ToFrozenDictionary() : FrozenDictionary<string, int>.Empty,
        });

    /// <summary>Nodes of every kind, few or enough to be sampled.</summary>
    public static readonly Gen<NodeView[]> Nodes = Gen.OneOf(AnyNode.Array[0, 20], AnyNode.Array[300, 600])
        .Select(nodes => nodes.Select((node, i) => node with { Id = $"n{i}" }).ToArray());

    public static readonly Gen<PlacementRequest> Request = Gen.Select(
        Wanted,
        Pick<string?>(null, "amd64", "arm64"),
        Pick<string[]>([], ["us"], ["us", "eu"], ["ap"]),
        Gen.Bool,
        Pick<string[]>([], ["kvm"], ["qemu", "tcg"]),
        Pick<string[]>([], [], ["disk=ssd"], ["disk!=hdd"], ["disk in (ssd, hdd)", "gpu"]),
        Gen.Frequency((9, Gen.Const((string?)null)), (1, Gen.Const((string?)"n3"))),
        Gen.Select(Gen.Bool, Gen.Bool, Gen.Bool, Gen.Int[0, 300]),
        (wanted, architecture, regions, require, features, labels, node, rest) => new PlacementRequest
        {
            Wanted = wanted,
            AppId = rest.Item1 ? "app" : "",
            Architecture = architecture,
            Regions = regions,
            RequireRegion = require && regions.Length > 0,
            Features = features,
            Constraints = [.. labels.Select(Constraint)],
            NodeId = node,
            Strategy = rest.Item2 ? PlacementStrategy.Pack : PlacementStrategy.Spread,
            Image = rest.Item3 ? "sha256:1" : null,
            Failures = [new NodeFailure("n1", 1, TimeSpan.FromSeconds(rest.Item4)), new NodeFailure("n2", 3, TimeSpan.FromSeconds(rest.Item4))],
        });

    private static Gen<T> Pick<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    public static PlacementIndex Index(IEnumerable<NodeView> nodes)
    {
        var index = new PlacementIndex();
        foreach (var node in nodes)
            index.Put(node);
        return index;
    }

    /// <summary>Equal nodes, the same number in each zone.</summary>
    public static IEnumerable<NodeView> Equal(int zones, int perZone, long memoryMib = 1 << 20) =>
        from zone in Enumerable.Range(0, zones)
        from i in Enumerable.Range(0, perZone)
        select Node($"z{zone}-n{i}", memoryMib) with { Region = "eu", Zone = $"z{zone}" };

    public static NodeView Node(string id, long memoryMib = 4096) => new()
    {
        Id = id,
        Architecture = "amd64",
        Capacity = new ResourceAmounts(1024, memoryMib, 1 << 20, 10_000),
    };

    public static LabelConstraint Constraint(string text) => LabelConstraint.TryParse(text, out var problem) ?? throw new ArgumentException(problem);

    /// <summary>Whether the request may go to the node, written from the definition.</summary>
    public static bool Fits(PlacementRequest request, NodeView node, ResourceAmounts planned)
    {
        var cpus = (long)(node.Capacity.Cpus * node.CpuOvercommit) - node.Allocated.Cpus - planned.Cpus;
        var memory = node.Capacity.MemoryMib - node.Allocated.MemoryMib - planned.MemoryMib;
        var disk = node.Capacity.DiskMib - node.Allocated.DiskMib - planned.DiskMib;
        var slots = node.Capacity.Machines - node.Allocated.Machines - planned.Machines;
        return node.Condition == NodeCondition.Ready
            && (request.NodeId is null || request.NodeId == node.Id)
            && (!request.RequireRegion || request.Regions.Contains(node.Region))
            && (request.Architecture ?? node.Architecture) == node.Architecture
            && request.Features.All(node.Features.Contains)
            && request.Constraints.All(constraint => constraint switch
            {
                { Operator: LabelOperator.Exists } => node.Labels.ContainsKey(constraint.Key),
                { Operator: LabelOperator.In } => node.Labels.TryGetValue(constraint.Key, out var value) && constraint.Values.Contains(value),
                _ => !(node.Labels.TryGetValue(constraint.Key, out var value) && constraint.Values.Contains(value)),
            })
            && Enough(cpus, request.Wanted.Cpus) && Enough(memory, request.Wanted.MemoryMib)
            && Enough(disk, request.Wanted.DiskMib) && Enough(slots, request.Wanted.Machines);

        static bool Enough(long free, long wanted) => wanted == 0 || free >= wanted;
    }

    public static FrozenDictionary<string, string> Dictionary(params (string Key, string Value)?[] pairs) =>
        pairs.Where(pair => pair is not null).ToFrozenDictionary(pair => pair!.Value.Key, pair => pair!.Value.Value, StringComparer.Ordinal);
}
