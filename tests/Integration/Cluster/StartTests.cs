using Npgsql;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.Cluster;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.Cluster;

/// <summary>How a server begins with its database.</summary>
public sealed class StartTests
{
    [Fact]
    public async Task A_server_waits_for_a_database_that_is_not_up_yet()
    {
        await using var postgres = await PostgresServer.StartAsync(isDurable: true);
        var address = await postgres.CreateDatabaseAsync();
        await postgres.KillAsync();

        var starting = ClusterServer.StartAsync(address);
        Assert.False(starting.IsCompleted);
        await postgres.StartAgainAsync();

        await using var server = await starting;
        Assert.NotNull(server.Secrets);
    }

    [Fact]
    public async Task A_database_that_refuses_is_not_waited_for()
    {
        var postgres = await PostgresServer.SharedAsync();
        Assert.True(DatabaseAddress.TryParse($"postgres://nobody:wrong@127.0.0.1:{postgres.Port}/ravel", out var address, out _));

        var refusal = await Assert.ThrowsAsync<PostgresException>(() => ClusterServer.StartAsync(address));

        Assert.Equal(PostgresErrorCodes.InvalidPassword, refusal.SqlState);
    }
}
