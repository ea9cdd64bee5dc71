using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Design;

namespace Ravel.ControlPlane.Storage.Sqlite;

/// <summary>Owns the migrations for SQLite.</summary>
internal sealed class SqliteServerDbContext(DbContextOptions<SqliteServerDbContext> options) : ServerDbContext(options)
{
    public override async Task<long> LastEventNumberAsync(CancellationToken cancellationToken) =>
        (await Database.SqlQuery<long>($"SELECT seq AS Value FROM sqlite_sequence WHERE name = 'machine_events'").ToListAsync(cancellationToken)).FirstOrDefault();

    public override async Task SetLastEventNumberAsync(long number, CancellationToken cancellationToken)
    {
        await Database.ExecuteSqlAsync($"DELETE FROM sqlite_sequence WHERE name = 'machine_events'", cancellationToken);
        await Database.ExecuteSqlAsync($"INSERT INTO sqlite_sequence (name, seq) VALUES ('machine_events', {number})", cancellationToken);
    }
}

/// <summary>For <c>dotnet ef migrations add NAME --context SqliteServerDbContext --output-dir Storage/Sqlite/Migrations</c>.</summary>
internal sealed class SqliteDesignTimeFactory : IDesignTimeDbContextFactory<SqliteServerDbContext>
{
    public SqliteServerDbContext CreateDbContext(string[] args) =>
        new(new DbContextOptionsBuilder<SqliteServerDbContext>().UseSqlite("Data Source=:memory:").Options);
}
