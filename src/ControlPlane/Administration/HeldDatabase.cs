using Ravel.ControlPlane.Storage;
using Ravel.ControlPlane.Storage.Postgres;
using Ravel.ControlPlane.Storage.Sqlite;

namespace Ravel.ControlPlane.Administration;

/// <summary>A database that no server works on, and none begins to work on while this is held.</summary>
internal abstract class HeldDatabase : IAsyncDisposable
{
    /// <summary>For people: without a password.</summary>
    public abstract string Shown { get; }

    /// <exception cref="AdministrationException">A server has it, or it can't be opened.</exception>
    public static async Task<HeldDatabase> OpenAsync(DatabaseAddress address, CancellationToken cancellationToken) => address.Postgres is { } connection
        ? await HeldPostgres.OpenAsync(connection, address.Shown, cancellationToken)
        : HeldSqlite.Open(address.File!);

    /// <summary>Brings the schema up to date.</summary>
    public abstract Task MigrateAsync(CancellationToken cancellationToken);

    public abstract ServerDbContext CreateContext();

    public abstract ValueTask DisposeAsync();
}
