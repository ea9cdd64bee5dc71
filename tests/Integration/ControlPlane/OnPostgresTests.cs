using Ravel.ControlPlane.Storage;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

// Whatever holds on SQLite holds on PostgreSQL: the same tests, each on a database of its own.

public sealed class MachineApiOnPostgresTests : MachineApiTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}

public sealed class RepeatedRequestOnPostgresTests : RepeatedRequestTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}

public sealed class RestartOnPostgresTests : RestartTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}

public sealed class StreamOnPostgresTests : StreamTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}

public sealed class TenancyOnPostgresTests : TenancyTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}

public sealed class VolumeApiOnPostgresTests : VolumeApiTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}

public sealed class ManyNodesOnPostgresTests : ManyNodesTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}

public sealed class PlacementOnPostgresTests : PlacementTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}

internal static class NewDatabase
{
    public static async Task<DatabaseAddress?> OnPostgresAsync() => await (await PostgresServer.SharedAsync()).CreateDatabaseAsync();
}
