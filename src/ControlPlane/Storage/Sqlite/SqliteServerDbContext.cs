using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Design;

namespace Ravel.ControlPlane.Storage.Sqlite;

/// <summary>Owns the migrations for SQLite.</summary>
internal sealed class SqliteServerDbContext(DbContextOptions<SqliteServerDbContext> options) : ServerDbContext(options);

/// <summary>For <c>dotnet ef migrations add NAME --context SqliteServerDbContext --output-dir Storage/Sqlite/Migrations</c>.</summary>
internal sealed class SqliteDesignTimeFactory : IDesignTimeDbContextFactory<SqliteServerDbContext>
{
    public SqliteServerDbContext CreateDbContext(string[] args) =>
        new(new DbContextOptionsBuilder<SqliteServerDbContext>().UseSqlite("Data Source=:memory:").Options);
}
