using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Npgsql;

namespace Ravel.ControlPlane.Storage;

/// <summary>Where the server's database is: a SQLite file on this host, or PostgreSQL for any number of servers.</summary>
public sealed record DatabaseAddress
{
    private const int ConnectSeconds = 5;
    private const int CommandSeconds = 30;
    private const int Connections = 64;

    private DatabaseAddress()
    {
    }

    /// <summary>The SQLite file; null for PostgreSQL.</summary>
    internal string? File { get; private init; }

    /// <summary>What the driver of PostgreSQL takes; null for SQLite. Has the password.</summary>
    internal string? Postgres { get; private init; }

    /// <summary>For people and logs: without the password.</summary>
    public required string Shown { get; init; }

    /// <summary>Where the SQLite file is; null for PostgreSQL.</summary>
    public string? Directory => File is null ? null : Path.GetDirectoryName(File);

    /// <param name="path">The file; its directory must exist.</param>
    public static DatabaseAddress Sqlite(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        return new DatabaseAddress { File = path, Shown = path };
    }

    /// <summary>
    /// Reads <c>postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…</c>, as libpq does ("Connection URIs" in the manual of PostgreSQL);
    /// <c>host</c> as a parameter may be the directory of a Unix socket. Or an absolute path, of a SQLite file.
    /// </summary>
    /// <param name="text">The address.</param>
    /// <param name="address">What it says.</param>
    /// <param name="error">One sentence that never has the password.</param>
    public static bool TryParse(string text, [NotNullWhen(true)] out DatabaseAddress? address, [NotNullWhen(false)] out string? error)
    {
        (address, error) = (null, null);
        if (text.StartsWith('/'))
        {
            address = Sqlite(text);
            return true;
        }
        if (!text.StartsWith("postgres://", StringComparison.Ordinal) && !text.StartsWith("postgresql://", StringComparison.Ordinal))
        {
            error = "a database is postgres://USER:PASSWORD@HOST/DATABASE, or the absolute path of a SQLite file";
            return false;
        }
        // Without a host (a Unix socket is named by a parameter) it is no URI of .NET's.
        var scheme = text.IndexOf("://", StringComparison.Ordinal) + 3;
        var hasHost = scheme < text.Length && text[scheme] is not ('/' or '?');
        if (!Uri.TryCreate(hasHost ? text : $"{text[..scheme]}localhost{text[scheme..]}", UriKind.Absolute, out var uri))
        {
            error = "the address of the database is no URI; characters such as '@', '/' and '#' in a password are written as %40, %2F and %23";
            return false;
        }

        var connection = new NpgsqlConnectionStringBuilder
        {
            Host = hasHost ? uri.IdnHost : null,
            Database = Uri.UnescapeDataString(uri.AbsolutePath.TrimStart('/')),
            Timeout = ConnectSeconds,
            CommandTimeout = CommandSeconds,
            MaxPoolSize = Connections,
            // Statements are few and always the same.
            MaxAutoPrepare = 200,
            AutoPrepareMinUsages = 5,
            ApplicationName = "ravel",
            // A server that vanished without a word is noticed on idle connections too.
            TcpKeepAlive = true,
            TcpKeepAliveTime = 5,
            TcpKeepAliveInterval = 1,
            IncludeErrorDetail = false,
            // Nobody can ask for it here, and to find out whether Kerberos is there takes longer than the timeout where no resolver answers.
            GssEncryptionMode = GssEncryptionMode.Disable,
        };
        if (uri.Port > 0)
            connection.Port = uri.Port;
        if (uri.UserInfo.Split(':', 2) is [{ Length: > 0 } user, .. var rest])
        {
            connection.Username = Uri.UnescapeDataString(user);
            connection.Password = rest is [var password] ? Uri.UnescapeDataString(password) : null;
        }
        foreach (var pair in uri.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var (name, value) = pair.Split('=', 2) is [var left, var right] ? (left, Uri.UnescapeDataString(right)) : (pair, "");
            if (!TrySet(connection, name, value))
            {
                error = $"the address of the database has {name}={(name == "password" ? "…" : value)}, which is not understood; "
                    + "there are host, port, user, password, dbname, sslmode, sslrootcert, sslcert, sslkey, application_name";
                return false;
            }
        }
        if (string.IsNullOrEmpty(connection.Host) || string.IsNullOrEmpty(connection.Database))
        {
            error = "the address of the database needs a host and the name of a database: postgres://USER:PASSWORD@HOST/DATABASE";
            return false;
        }
        address = new DatabaseAddress
        {
            Postgres = connection.ConnectionString,
            Shown = string.Create(CultureInfo.InvariantCulture, $"postgres://{connection.Host}:{connection.Port}/{connection.Database}"),
        };
        return true;
    }

    /// <summary>The password must not get into a log with the rest.</summary>
    public override string ToString() => Shown;

    private static bool TrySet(NpgsqlConnectionStringBuilder connection, string name, string value)
    {
        switch (name)
        {
            case "host":
                connection.Host = value;
                return true;
            case "port" when ushort.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var port):
                connection.Port = port;
                return true;
            case "user":
                connection.Username = value;
                return true;
            case "password":
                connection.Password = value;
                return true;
            case "dbname":
                connection.Database = value;
                return true;
            case "sslmode" when Enum.TryParse<SslMode>(value.Replace("-", "", StringComparison.Ordinal), ignoreCase: true, out var mode):
                connection.SslMode = mode;
                return true;
            case "sslrootcert":
                connection.RootCertificate = value;
                return true;
            case "sslcert":
                connection.SslCertificate = value;
                return true;
            case "sslkey":
                connection.SslKey = value;
                return true;
            case "application_name":
                connection.ApplicationName = value;
                return true;
            default:
                return false;
        }
    }
}
