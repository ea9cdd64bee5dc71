using Microsoft.Extensions.DependencyInjection;

namespace Ravel.ControlPlane.Recovery;

internal static class RecoveryServices
{
    public static IServiceCollection AddRecovery(this IServiceCollection services) => services
        .AddSingleton<MachineMoves>()
        .AddSingleton<NodeAdmission>()
        .AddSingleton<NodeLoss>()
        .AddSingleton<Departures>()
        .AddSingleton<IDuty>(s => s.GetRequiredService<NodeLoss>())
        .AddSingleton<IDuty, Rescheduler>()
        .AddSingleton<IDuty>(s => s.GetRequiredService<Departures>())
        .AddSingleton<Caretaker>()
        .AddHostedService(s => s.GetRequiredService<Caretaker>());
}
