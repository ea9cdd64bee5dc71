using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Design;
using Ravel.ControlPlane.Events;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Nodes;

namespace Ravel.ControlPlane.Storage.Postgres;

/// <summary>Owns the migrations for PostgreSQL.</summary>
internal sealed class PostgresServerDbContext(DbContextOptions<PostgresServerDbContext> options) : ServerDbContext(options)
{
    public override Task HoldAppAsync(string appId, CancellationToken cancellationToken) =>
        // A new row that refers to the app takes a share of this lock (FOR KEY SHARE): none appears until this transaction ends.
        Database.ExecuteSqlAsync($"""SELECT 1 FROM apps WHERE "Id" = {appId} FOR UPDATE""", cancellationToken);

    /// <summary>
    /// Numbers are given before transactions commit: while one is under way that began before, an event with a lower number may still
    /// appear. A reader that goes by numbers waits for it.
    /// </summary>
    public override IQueryable<MachineEventRow> SettledEvents => MachineEvents.FromSqlRaw(
        """SELECT * FROM machine_events WHERE "Transaction" < pg_snapshot_xmin(pg_current_snapshot())""");

    public override Task HoldTablesAsync(IReadOnlyList<string> tables, CancellationToken cancellationToken) =>
#pragma warning disable EF1002 // Names of the model.
        Database.ExecuteSqlRawAsync($"LOCK TABLE {string.Join(", ", tables)} IN EXCLUSIVE MODE", cancellationToken);
#pragma warning restore EF1002

    public override Task<long> LastEventNumberAsync(CancellationToken cancellationToken) => Database
        .SqlQuery<long>($"""SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('machine_events', 'Sequence')::regclass), 0) AS "Value" """)
        .SingleAsync(cancellationToken);

    public override Task SetLastEventNumberAsync(long number, CancellationToken cancellationToken) =>
        // A sequence begins at 1 and can't be set to less: "not called" is what it was before the first.
        Database.ExecuteSqlAsync(
            $"SELECT setval(pg_get_serial_sequence('machine_events', 'Sequence'), greatest({number}, 1), {number > 0})", cancellationToken);

    public override IQueryable<MachineRow> HoldMachines(string[] ids) =>
        Machines.FromSql($"""SELECT * FROM machines WHERE "Id" = ANY({ids}) ORDER BY "Id" FOR NO KEY UPDATE""");

    public override IQueryable<NodeRow> HoldNodes(string[] ids) =>
        Nodes.FromSql($"""SELECT * FROM nodes WHERE "Id" = ANY({ids}) ORDER BY "Id" FOR NO KEY UPDATE""");

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        modelBuilder.Entity<MachineEventRow>()
            .Property<ulong>("Transaction").HasColumnType("xid8").HasDefaultValueSql("pg_current_xact_id()");
    }

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
    {
        base.ConfigureConventions(configurationBuilder);
        // Ids and names are compared as bytes here and in .NET: a database's own collation must not change the order of a page.
        configurationBuilder.Properties<string>().UseCollation("C");
    }
}

/// <summary>For <c>dotnet ef migrations add NAME --context PostgresServerDbContext --output-dir Storage/Postgres/Migrations</c>.</summary>
internal sealed class PostgresDesignTimeFactory : IDesignTimeDbContextFactory<PostgresServerDbContext>
{
    public PostgresServerDbContext CreateDbContext(string[] args) =>
        new(new DbContextOptionsBuilder<PostgresServerDbContext>().UseNpgsql("Host=unused").Options);
}
