namespace Ravel.ControlPlane.Placement;

/// <summary>
/// A node that fits, with all that ranks it. Compared one key after the other, so that no weight can make up for a broken spread: last resorts
/// last, then the region, then what the strategy asks, then the score, then chance.
/// </summary>
/// <param name="Node">Which.</param>
/// <param name="IsLastResort">A machine of the request has just failed there.</param>
/// <param name="Region">Rank of its region.</param>
/// <param name="Crowd">Spread: machines of the app in its zone. Pack: 1 for an empty node, which would have to be opened.</param>
/// <param name="Neighbours">Spread: machines of the app on it. Pack: 0.</param>
/// <param name="Score">More is better.</param>
/// <param name="Tie">Drawn from the seed.</param>
internal readonly record struct Candidate(
    IndexedNode Node, bool IsLastResort, int Region, int Crowd, int Neighbours, double Score, ulong Tie) : IComparable<Candidate>
{
    private const double ImageWeight = 0.4;
    private const double LoadWeight = 0.3;
    private const double RoomWeight = 0.3;
    private const double PackedWeight = 0.7;
    private const double PackedImageWeight = 0.3;

    /// <summary>Best first.</summary>
    public int CompareTo(Candidate other)
    {
        var order = IsLastResort.CompareTo(other.IsLastResort);
        if (order == 0)
            order = Region.CompareTo(other.Region);
        if (order == 0)
            order = Crowd.CompareTo(other.Crowd);
        if (order == 0)
            order = Neighbours.CompareTo(other.Neighbours);
        if (order == 0)
            order = other.Score.CompareTo(Score);
        if (order == 0)
            order = Tie.CompareTo(other.Tie);
        return order == 0 ? string.CompareOrdinal(Node.View.Id, other.Node.View.Id) : order;
    }

    /// <summary>Image, load and room, less what failures there weigh.</summary>
    public static double ScoreOf(PlacementRequest request, IndexedNode node, double penalty)
    {
        var image = request.Image is not null && node.View.Images.Contains(request.Image) ? 1 : 0;
        var room = (Share(node.Free.Cpus - request.Wanted.Cpus, node.Total.Cpus) + Share(node.Free.MemoryMib - request.Wanted.MemoryMib, node.Total.MemoryMib)) / 2;
        if (request.Strategy == PlacementStrategy.Pack)
            return (PackedWeight * (1 - room)) + (PackedImageWeight * image) - penalty;
        // A node that reports nonsense counts as busy.
        var idle = node.View.Load is >= 0 and <= 1 ? 1 - node.View.Load : 0;
        return (ImageWeight * image) + (LoadWeight * idle) + (RoomWeight * room) - penalty;
    }

    private static double Share(long part, long whole) => whole > 0 ? (double)part / whole : 0;
}
