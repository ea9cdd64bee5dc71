using Npgsql;
using Ravel.ControlPlane.Storage;

namespace Ravel.Unit.ControlPlane;

public sealed class DatabaseAddressTests
{
    [Fact]
    public void A_uri_of_libpq_is_understood()
    {
        var address = Parse("postgres://ann:p%40ss@db.example:6432/ravel?sslmode=verify-full&sslrootcert=/etc/ca.pem");
        var connection = new NpgsqlConnectionStringBuilder(address.Postgres);
        Assert.Equal(("db.example", 6432, "ravel"), (connection.Host, connection.Port, connection.Database));
        Assert.Equal(("ann", "p@ss"), (connection.Username, connection.Password));
        Assert.Equal((SslMode.VerifyFull, "/etc/ca.pem"), (connection.SslMode, connection.RootCertificate));
        Assert.Equal("postgres://db.example:6432/ravel", address.ToString());
    }

    [Fact]
    public void A_unix_socket_is_named_by_a_parameter()
    {
        var connection = new NpgsqlConnectionStringBuilder(Parse("postgresql:///ravel?host=/run/postgresql&user=ravel").Postgres);
        Assert.Equal(("/run/postgresql", "ravel", "ravel"), (connection.Host, connection.Database, connection.Username));
    }

    [Fact]
    public void An_absolute_path_is_a_file() => Assert.Equal("/var/lib/ravel/server.db", Parse("/var/lib/ravel/server.db").File);

    [Theory]
    [InlineData("server.db")]
    [InlineData("mysql://host/db")]
    [InlineData("postgres://")]
    [InlineData("postgres://host")]
    [InlineData("postgres:///db")]
    [InlineData("postgres://u:hunter2@host/db?sslmode=perhaps")]
    [InlineData("postgres://u:hunter2@host/db?password=hunter2&pool=3")]
    [InlineData("postgres://u:hunter2@ho st/db")]
    [InlineData("postgres://u:hunter2@host:99999/db")]
    public void Anything_else_is_refused_without_its_password(string text)
    {
        Assert.False(DatabaseAddress.TryParse(text, out _, out var error));
        Assert.NotEmpty(error);
        Assert.DoesNotContain("hunter2", error, StringComparison.Ordinal);
    }

    private static DatabaseAddress Parse(string text) =>
        DatabaseAddress.TryParse(text, out var address, out var error) ? address : throw new InvalidOperationException(error);
}
