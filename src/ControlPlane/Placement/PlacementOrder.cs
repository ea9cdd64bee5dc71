using Ravel.Contracts.Api;
using Ravel.ControlPlane.Images;
using Ravel.ControlPlane.Machines;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Placement;

/// <summary>Where one machine, or several that are the same, shall go.</summary>
/// <param name="Request">For the planner.</param>
/// <param name="Resources">For the node: what it must hold for each.</param>
/// <param name="Generation">Of what shall run.</param>
/// <param name="Patience">How long to go on asking while there is no room; zero: refuse at once.</param>
internal sealed record PlacementOrder(PlacementRequest Request, Rpc.Resources Resources, long Generation, TimeSpan Patience)
{
    /// <param name="config">Of the machine; its placement has passed <see cref="PlacementRules"/>.</param>
    /// <param name="appId">Of its app; machines of one are spread.</param>
    /// <param name="nodeId">The only node that will do, for what is only there; null: any.</param>
    /// <param name="generation">Of what shall run.</param>
    public static PlacementOrder Of(MachineConfig config, string appId, string? nodeId, long generation)
    {
        var resources = MachineSpecs.Resources(config);
        return new PlacementOrder(RequestOf(config, appId, nodeId) with { Wanted = ResourceAmounts.Of(resources) }, resources, generation, TimeSpan.Zero);
    }

    /// <summary>For a machine that takes no room yet.</summary>
    public static PlacementRequest RequestOf(MachineConfig config, string appId, string? nodeId) => new()
    {
        Wanted = default,
        AppId = appId,
        NodeId = nodeId,
        Regions = config.Placement?.Regions ?? [],
        RequireRegion = config.Placement?.Regions is { Count: > 0 },
        Architecture = config.Placement?.Architecture,
        Features = [.. config.Placement?.Features ?? []],
        Constraints = [.. (config.Placement?.Constraints ?? []).Select(PlacementRules.Parse)],
        Strategy = config.Placement?.Strategy == "pack" ? PlacementStrategy.Pack : PlacementStrategy.Spread,
        Image = ImageReference.TryParse(config.Image, out var image) ? ImageReference.FullName(image) : null,
    };
}
