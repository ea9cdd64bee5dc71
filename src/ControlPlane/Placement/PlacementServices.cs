using Microsoft.Extensions.DependencyInjection;

namespace Ravel.ControlPlane.Placement;

internal static class PlacementServices
{
    public static IServiceCollection AddPlacement(this IServiceCollection services) => services
        .AddSingleton<Fleet>()
        .AddSingleton<Placer>()
        .AddHostedService<FleetCounts>();
}
