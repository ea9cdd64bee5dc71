using System.Text;

namespace Ravel.ControlPlane.Placement;

/// <summary>Why a node is not for a request. Each node has one reason: the first that applies, in this order.</summary>
internal enum RefusalReason
{
    None,
    OtherNode,
    Region,
    Architecture,
    Feature,
    Label,
    Cordoned,
    Draining,
    Unreachable,
    Machines,
    Cpus,
    Memory,
    Disk,
}

/// <summary>Nothing fits: how many nodes were refused for which reason. Exact, of all nodes there are.</summary>
internal sealed class PlacementRefusal
{
    private readonly int[] _counts = new int[Enum.GetValues<RefusalReason>().Length];
    private readonly PlacementRequest _request;
    private ResourceAmounts _largest;

    public PlacementRefusal(PlacementRequest request) => _request = request;

    public int Nodes { get; private set; }

    public int this[RefusalReason reason] => _counts[(int)reason];

    /// <summary>Room, now or later, is all that is missing on at least one node: waiting may help.</summary>
    public bool MayPass => _counts.Skip((int)RefusalReason.Cordoned).Any(count => count > 0);

    /// <param name="reason">Not <see cref="RefusalReason.None"/>.</param>
    /// <param name="free">What the refused node has left.</param>
    public void Add(RefusalReason reason, in ResourceAmounts free)
    {
        Nodes++;
        _counts[(int)reason]++;
        _largest = reason switch
        {
            RefusalReason.Cpus => _largest with { Cpus = Math.Max(_largest.Cpus, free.Cpus) },
            RefusalReason.Memory => _largest with { MemoryMib = Math.Max(_largest.MemoryMib, free.MemoryMib) },
            RefusalReason.Disk => _largest with { DiskMib = Math.Max(_largest.DiskMib, free.DiskMib) },
            _ => _largest,
        };
    }

    /// <summary>One line for the user: the most frequent reason first.</summary>
    public override string ToString()
    {
        if (Nodes == 0)
            return "There is no node; add one first.";
        var text = new StringBuilder($"0 of {Nodes} {(Nodes == 1 ? "node fits" : "nodes fit")}: ");
        var reasons = Enum.GetValues<RefusalReason>().Where(reason => this[reason] > 0).OrderByDescending(reason => this[reason]).ThenBy(reason => reason);
        return text.AppendJoin(", ", reasons.Select(reason => $"{this[reason]} {Describe(reason, this[reason] == 1)}")).Append('.').ToString();
    }

    private string Describe(RefusalReason reason, bool one)
    {
        var lacks = one ? "lacks" : "lack";
        var has = one ? "has" : "have";
        var wanted = _request.Wanted;
        return reason switch
        {
            RefusalReason.OtherNode => $"{(one ? "is" : "are")} not {_request.NodeId}, the only one that will do",
            RefusalReason.Region => $"in another region than {string.Join(", ", _request.Regions)}",
            RefusalReason.Architecture => $"{(one ? "is" : "are")} not {_request.Architecture}",
            RefusalReason.Feature => $"{lacks} {string.Join(", ", _request.Features)}",
            RefusalReason.Label => $"{has} not the labels wanted",
            RefusalReason.Cordoned => "cordoned",
            RefusalReason.Draining => "draining",
            RefusalReason.Unreachable => "unreachable",
            RefusalReason.Machines => $"{has} no slot for a machine left",
            RefusalReason.Cpus => $"{lacks} CPUs (most free {_largest.Cpus}, wanted {wanted.Cpus})",
            RefusalReason.Memory => $"{lacks} memory (largest free {_largest.MemoryMib} MiB, wanted {wanted.MemoryMib})",
            RefusalReason.Disk => $"{lacks} disk (largest free {_largest.DiskMib} MiB, wanted {wanted.DiskMib})",
            _ => throw new ArgumentOutOfRangeException(nameof(reason), reason, "A refused node has a reason."),
        };
    }
}
