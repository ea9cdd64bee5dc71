using System.Collections.Frozen;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Placement;

/// <summary>Whether a node takes new machines, and if not, why.</summary>
internal enum NodeCondition
{
    Ready,
    Cordoned,
    Draining,
    Unreachable,
}

/// <summary>
/// A node as the planner sees it: what it said of itself when it was last heard, and what its operator decided. It may be stale; the
/// node's own ledger has the last word.
/// </summary>
internal sealed record NodeView
{
    /// <summary>More images than this are not looked at: the view of a node must stay small.</summary>
    public const int MaxImages = 1024;

    private const int MaxLabels = 256;
    private const int MaxText = 512;

    public required string Id { get; init; }

    /// <summary>Empty: the operator has named none.</summary>
    public string Region { get; init; } = "";

    /// <summary>Part of a region that fails as one; the same name in two regions is two zones.</summary>
    public string Zone { get; init; } = "";

    public FrozenDictionary<string, string> Labels { get; init; } = FrozenDictionary<string, string>.Empty;

    /// <summary>As in OCI: <c>amd64</c>, <c>arm64</c>.</summary>
    public required string Architecture { get; init; }

    /// <summary>What its hypervisor can do, its name and accelerator among them (<c>qemu</c>, <c>kvm</c>).</summary>
    public FrozenSet<string> Features { get; init; } = FrozenSet<string>.Empty;

    public NodeCondition Condition { get; init; }

    public required ResourceAmounts Capacity { get; init; }

    public ResourceAmounts Allocated { get; init; }

    /// <summary>How often a CPU of <see cref="Capacity"/> may be given away, 1 where the node has counted that already.</summary>
    public double CpuOvercommit { get; init; } = 1;

    /// <summary>Digests of the images that are on the node, the first <see cref="MaxImages"/> of them.</summary>
    public FrozenSet<string> Images
    {
        get;
        init => field = value.Count <= MaxImages
            ? value
            : value.Order(StringComparer.Ordinal).Take(MaxImages).ToFrozenSet(StringComparer.Ordinal);
    } = FrozenSet<string>.Empty;

    /// <summary>As the node calls this set of images; empty: it has not said.</summary>
    public string ImagesRevision { get; init; } = "";

    /// <summary>How busy it is: 0 idle, 1 fully.</summary>
    public double Load { get; init; }

    /// <summary>How many machines of each app it holds, by the app's id.</summary>
    public FrozenDictionary<string, int> Apps { get; init; } = FrozenDictionary<string, int>.Empty;

    /// <summary>What can be given to machines, held or not.</summary>
    public ResourceAmounts Total => Capacity with { Cpus = (long)Math.Floor(Capacity.Cpus * CpuOvercommit) };

    /// <summary>What a node says of itself, with whether it takes machines. Its CPUs are counted with its overcommit already.</summary>
    /// <param name="info">Its words.</param>
    /// <param name="condition">Ours.</param>
    /// <param name="before">
    /// What was known of it; what is the same in both is shared, and images that <paramref name="info"/> leaves out are those of before.
    /// </param>
    public static NodeView Of(Rpc.NodeInfo info, NodeCondition condition = NodeCondition.Ready, NodeView? before = null) => new()
    {
        Id = info.NodeId,
        Region = Bounded(info.Region),
        Zone = Bounded(info.Zone),
        Labels = before is not null && IsSame(before.Labels, info.Labels)
            ? before.Labels
            : info.Labels.Take(MaxLabels).ToFrozenDictionary(label => Bounded(label.Key), label => Bounded(label.Value), StringComparer.Ordinal),
        Architecture = info.Architecture,
        Features = before is { Features: { Count: <= 2 } features } && features.Contains(info.Vmm) && features.Contains(info.Accelerator)
            ? features
            : FrozenSet.Create(StringComparer.Ordinal, info.Vmm, info.Accelerator),
        Condition = condition,
        Capacity = ResourceAmounts.Of(info.Capacity),
        Allocated = ResourceAmounts.Of(info.Allocated),
        Images = info.Images.Count > 0 ? info.Images.Take(MaxImages).Select(Bounded).ToFrozenSet(StringComparer.Ordinal)
            : before is not null && info.ImagesRevision == before.ImagesRevision ? before.Images
            : FrozenSet<string>.Empty,
        ImagesRevision = info.ImagesRevision,
        Load = info.Load,
    };

    private static bool IsSame(FrozenDictionary<string, string> known, IDictionary<string, string> said)
    {
        if (known.Count != said.Count)
            return false;
        foreach (var (key, value) in known)
        {
            if (!said.TryGetValue(key, out var now) || now != value)
                return false;
        }
        return true;
    }

    /// <summary>A node says what it likes.</summary>
    private static string Bounded(string text) => text.Length <= MaxText ? text : text[..MaxText];
}
