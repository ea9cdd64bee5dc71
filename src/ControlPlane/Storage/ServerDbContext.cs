using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;
using Ravel.ControlPlane.Apps;
using Ravel.ControlPlane.Cluster;
using Ravel.ControlPlane.Events;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Namespaces;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Recovery;
using Ravel.ControlPlane.Tokens;
using Ravel.ControlPlane.Volumes;

namespace Ravel.ControlPlane.Storage;

/// <summary>
/// The server's tables, said once for every engine. An engine adds a class derived from this one, which owns its migrations, and
/// an implementation of <see cref="Database"/>; nothing outside its folder knows which engine it is.
/// </summary>
internal abstract class ServerDbContext : DbContext
{
    protected ServerDbContext(DbContextOptions options)
        : base(options)
    {
    }

    public DbSet<NamespaceRow> Namespaces => Set<NamespaceRow>();

    public DbSet<TokenRow> Tokens => Set<TokenRow>();

    public DbSet<AppRow> Apps => Set<AppRow>();

    public DbSet<MachineRow> Machines => Set<MachineRow>();

    public DbSet<MachineEventRow> MachineEvents => Set<MachineEventRow>();

    public DbSet<VolumeRow> Volumes => Set<VolumeRow>();

    public DbSet<IdempotencyRow> IdempotencyKeys => Set<IdempotencyRow>();

    public DbSet<NodeRow> Nodes => Set<NodeRow>();

    public DbSet<LeaseRow> Leases => Set<LeaseRow>();

    public DbSet<DepartureRow> Departures => Set<DepartureRow>();

    public DbSet<ClusterRow> Clusters => Set<ClusterRow>();

    public DbSet<JoinTokenRow> JoinTokens => Set<JoinTokenRow>();

    public DbSet<MemberRow> Members => Set<MemberRow>();

    public DbSet<ServerRow> Servers => Set<ServerRow>();

    /// <summary>Events below which none will appear any more: for readers that remember the last number they saw, over all machines.</summary>
    public virtual IQueryable<MachineEventRow> SettledEvents => MachineEvents;

    /// <summary>
    /// Machines that are to be changed: until this transaction ends nobody else does. Ids in order, so that two who hold several do not wait
    /// for each other.
    /// </summary>
    public virtual IQueryable<MachineRow> HoldMachines(string[] ids) => Machines.Where(m => ids.Contains(m.Id));

    /// <summary>As <see cref="HoldMachines"/>; nodes are held before machines.</summary>
    public virtual IQueryable<NodeRow> HoldNodes(string[] ids) => Nodes.Where(n => ids.Contains(n.Id));

    /// <summary>
    /// Until this transaction ends, nothing is added to an app (a machine, a volume) by another: for decisions that rest on an app's being
    /// empty. Where there is one writer at a time this costs and does nothing.
    /// </summary>
    public virtual Task HoldAppAsync(string appId, CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Until this transaction ends nobody else writes to these tables; costs and does nothing where there is one writer at a time.</summary>
    public virtual Task HoldTablesAsync(IReadOnlyList<string> tables, CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>The highest number that an event was ever given; readers remember numbers, so none is given twice.</summary>
    public abstract Task<long> LastEventNumberAsync(CancellationToken cancellationToken);

    /// <summary>Events get higher numbers from now on.</summary>
    public abstract Task SetLastEventNumberAsync(long number, CancellationToken cancellationToken);

    public override Task<int> SaveChangesAsync(bool acceptAllChangesOnSuccess, CancellationToken cancellationToken = default)
    {
        foreach (var entry in ChangeTracker.Entries<MachineRow>())
        {
            if (entry.State == EntityState.Modified)
                entry.Entity.Version++;
        }
        foreach (var entry in ChangeTracker.Entries<VolumeRow>())
        {
            if (entry.State == EntityState.Modified)
                entry.Entity.Version++;
        }
        return base.SaveChangesAsync(acceptAllChangesOnSuccess, cancellationToken);
    }

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder) =>
        // Not every engine has a time with an offset that can be compared; microseconds of Unix time can be, everywhere.
        configurationBuilder.Properties<DateTimeOffset>().HaveConversion<UnixMicroseconds>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<NamespaceRow>(e =>
        {
            e.ToTable("namespaces").HasKey(r => r.Name);
            e.Property(r => r.Name).HasMaxLength(63);
        });
        modelBuilder.Entity<TokenRow>(e =>
        {
            e.ToTable("tokens").HasKey(r => r.Id);
            e.Property(r => r.Id).HasMaxLength(26);
            e.Property(r => r.Name).HasMaxLength(63);
            e.Property(r => r.Hash).HasMaxLength(32);
            e.HasIndex(r => r.Hash).IsUnique();
            e.HasOne<NamespaceRow>().WithMany().HasForeignKey(r => r.Namespace).OnDelete(DeleteBehavior.Cascade);
        });
        modelBuilder.Entity<AppRow>(e =>
        {
            e.ToTable("apps").HasKey(r => r.Id);
            e.Property(r => r.Id).HasMaxLength(26);
            e.Property(r => r.Name).HasMaxLength(63);
            e.HasIndex(r => new { r.Namespace, r.Name }).IsUnique();
            e.HasOne<NamespaceRow>().WithMany().HasForeignKey(r => r.Namespace).OnDelete(DeleteBehavior.Restrict);
        });
        modelBuilder.Entity<MachineRow>(e =>
        {
            e.ToTable("machines").HasKey(r => r.Id);
            e.Property(r => r.Id).HasMaxLength(14);
            e.Property(r => r.AppId).HasMaxLength(26);
            e.Property(r => r.Namespace).HasMaxLength(63);
            e.Property(r => r.Name).HasMaxLength(63);
            e.Property(r => r.LiveName).HasMaxLength(63);
            e.Property(r => r.NodeId).HasMaxLength(128);
            e.Property(r => r.Region).HasMaxLength(63).HasDefaultValue("");
            e.Property(r => r.Batch).HasMaxLength(20);
            e.HasIndex(r => r.Batch).HasFilter("\"Batch\" IS NOT NULL");
            e.Property(r => r.Version).IsConcurrencyToken();
            // Nulls are distinct in a unique index of every engine: only the living compete for a name.
            e.HasIndex(r => new { r.AppId, r.LiveName }).IsUnique();
            e.HasIndex(r => r.Namespace);
            e.HasIndex(r => r.DestroyedAt);
            e.HasIndex(r => r.NodeId);
            e.HasOne<AppRow>().WithMany().HasForeignKey(r => r.AppId).OnDelete(DeleteBehavior.Cascade);
        });
        modelBuilder.Entity<MachineEventRow>(e =>
        {
            e.ToTable("machine_events").HasKey(r => r.Sequence);
            e.Property(r => r.Sequence).ValueGeneratedOnAdd();
            e.Property(r => r.MachineId).HasMaxLength(14);
            e.Property(r => r.Type).HasMaxLength(32);
            e.Property(r => r.Status).HasMaxLength(16);
            e.Property(r => r.Source).HasMaxLength(16);
            e.HasIndex(r => new { r.MachineId, r.Sequence });
            e.HasOne<MachineRow>().WithMany().HasForeignKey(r => r.MachineId).OnDelete(DeleteBehavior.Cascade);
        });
        modelBuilder.Entity<VolumeRow>(e =>
        {
            e.ToTable("volumes").HasKey(r => r.Id);
            e.Property(r => r.Id).HasMaxLength(20);
            e.Property(r => r.AppId).HasMaxLength(26);
            e.Property(r => r.Namespace).HasMaxLength(63);
            e.Property(r => r.Name).HasMaxLength(63);
            e.Property(r => r.LiveName).HasMaxLength(63);
            e.Property(r => r.NodeId).HasMaxLength(128);
            e.Property(r => r.SourceId).HasMaxLength(20);
            e.Property(r => r.MachineId).HasMaxLength(14);
            e.Property(r => r.Version).IsConcurrencyToken();
            e.HasIndex(r => new { r.AppId, r.LiveName }).IsUnique();
            e.HasIndex(r => r.Namespace);
            e.HasIndex(r => r.MachineId);
            e.HasOne<AppRow>().WithMany().HasForeignKey(r => r.AppId).OnDelete(DeleteBehavior.Restrict);
        });
        modelBuilder.Entity<IdempotencyRow>(e =>
        {
            e.ToTable("idempotency_keys").HasKey(r => new { r.Namespace, r.Key });
            e.Property(r => r.Namespace).HasMaxLength(63);
            e.Property(r => r.Key).HasMaxLength(IdempotencyRow.MaxKey);
            e.Property(r => r.Resource).HasMaxLength(20);
            e.HasIndex(r => r.CreatedAt);
        });
        modelBuilder.Entity<NodeRow>(e =>
        {
            e.ToTable("nodes").HasKey(r => r.Id);
            e.Property(r => r.Id).HasMaxLength(128);
            // Two servers that follow one node must not both count an event.
            e.Property(r => r.LastSequence).IsConcurrencyToken();
        });
        modelBuilder.Entity<LeaseRow>(e =>
        {
            e.ToTable("leases").HasKey(r => r.Name);
            e.Property(r => r.Name).HasMaxLength(63);
            e.Property(r => r.Holder).HasMaxLength(26);
            e.Property(r => r.Beat).IsConcurrencyToken();
        });
        modelBuilder.Entity<DepartureRow>(e =>
        {
            e.ToTable("departures").HasKey(r => new { r.NodeId, r.MachineId });
            e.Property(r => r.NodeId).HasMaxLength(128);
            e.Property(r => r.MachineId).HasMaxLength(14);
        });
        modelBuilder.Entity<ClusterRow>(e =>
        {
            e.ToTable("cluster").HasKey(r => r.Id);
            e.Property(r => r.Id).ValueGeneratedNever();
        });
        modelBuilder.Entity<JoinTokenRow>(e =>
        {
            e.ToTable("join_tokens").HasKey(r => r.Id);
            e.Property(r => r.Id).HasMaxLength(26);
            e.Property(r => r.Hash).HasMaxLength(32);
            e.HasIndex(r => r.Hash).IsUnique();
            // Of two who use a token at once the second finds it changed.
            e.Property(r => r.UsedAt).IsConcurrencyToken();
        });
        modelBuilder.Entity<MemberRow>(e =>
        {
            e.ToTable("members").HasKey(r => r.Id);
            e.Property(r => r.Id).HasMaxLength(64);
            e.Property(r => r.KeyHash).HasMaxLength(32);
            e.Property(r => r.Address).HasMaxLength(255);
        });
        modelBuilder.Entity<ServerRow>(e =>
        {
            e.ToTable("servers").HasKey(r => r.Id);
            e.Property(r => r.Id).HasMaxLength(26);
            e.Property(r => r.Hub).HasMaxLength(255);
        });
    }

    private sealed class UnixMicroseconds() : ValueConverter<DateTimeOffset, long>(
        time => (time.UtcTicks - DateTimeOffset.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond,
        value => DateTimeOffset.UnixEpoch.AddTicks(value * TimeSpan.TicksPerMicrosecond));
}
