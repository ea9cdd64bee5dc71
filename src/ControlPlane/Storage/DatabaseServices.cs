using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane.Storage.Postgres;
using Ravel.ControlPlane.Storage.Sqlite;

namespace Ravel.ControlPlane.Storage;

internal static class DatabaseServices
{
    public static IServiceCollection AddDatabase(this IServiceCollection services, DatabaseAddress address)
    {
        if (address.Postgres is not { } connection)
            return services.AddSingleton<Database>(s => new SqliteDatabase(address.File!, s.GetRequiredService<ILoggerFactory>(), s.GetService<DatabaseFaults>()));
        return services
            .AddSingleton(s => new PostgresDatabase(connection, s.GetRequiredService<ILoggerFactory>(), s.GetService<DatabaseFaults>()))
            .AddSingleton<Database>(s => s.GetRequiredService<PostgresDatabase>())
            .AddHostedService<PostgresChangeRelay>();
    }
}
