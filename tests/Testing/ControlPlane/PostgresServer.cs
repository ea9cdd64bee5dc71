using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Npgsql;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.Needs;

namespace Ravel.Testing.ControlPlane;

/// <summary>
/// A real PostgreSQL on a free loopback port with its own temporary data directory, under the account that Debian makes for it. It ends
/// with this object, and also when the process that holds it is killed: its standard input is the lease on its life.
/// </summary>
public sealed class PostgresServer : IAsyncDisposable
{
    private const string Account = "postgres";

    /// <summary>The role, and its password: loopback is open to every user of this host.</summary>
    private const string Role = "ravel";

    private static readonly Lazy<Task<PostgresServer>> Started = new(
        async () =>
        {
            var server = await StartAsync();
            AppDomain.CurrentDomain.ProcessExit += (_, _) => server.EndAtExit();
            return server;
        });

    private readonly string _directory;
    private readonly string _programs;
    private readonly PostgresPlace _place;
    private Process? _process;
    private int _databases;

    private PostgresServer(string directory, string programs, int port, PostgresPlace place) => (_directory, _programs, Port, _place) = (directory, programs, port, place);

    public int Port { get; }

    /// <summary>One for all tests of this process that only need a database of their own.</summary>
    public static Task<PostgresServer> SharedAsync() => Started.Value;

    /// <param name="isDurable">Whether it calls fsync: for tests that kill it, or measure it.</param>
    /// <param name="place">Where it listens; null: on loopback.</param>
    public static async Task<PostgresServer> StartAsync(bool isDurable = false, PostgresPlace? place = null)
    {
        place ??= new PostgresPlace(null, "127.0.0.1");
        Need.Root();
        var programs = Directory.Exists("/usr/lib/postgresql")
            ? Directory.EnumerateDirectories("/usr/lib/postgresql").Select(d => Path.Combine(d, "bin"))
                .Where(d => File.Exists(Path.Combine(d, "postgres"))).Order(StringComparer.Ordinal).LastOrDefault()
            : null;
        if (programs is null)
            Need.Missing("it needs PostgreSQL (./dev setup installs it)");
        var directory = Directory.CreateTempSubdirectory("ravel-postgres-").FullName;
        var server = new PostgresServer(directory, programs!, place.NetworkNamespace is null ? FreePort() : 5432, place);
        try
        {
            File.SetUnixFileMode(directory, (UnixFileMode)0b111_101_101);
            var data = Directory.CreateDirectory(Path.Combine(directory, "data")).FullName;
            var password = Path.Combine(directory, "password");
            await File.WriteAllTextAsync(password, Role);
            await RunAsync("chown", ["-R", Account, data, password]);
            await RunAsync(
                "setpriv",
                [
                    .. AsAccount, Path.Combine(programs!, "initdb"), "--pgdata", data, "--username", Role, "--pwfile", password, "--auth", "scram-sha-256",
                    "--encoding", "UTF8", "--locale", "C", "--no-sync",
                ]);
            await File.AppendAllTextAsync(
                Path.Combine(data, "postgresql.conf"),
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"""

                     port = {server.Port}
                     listen_addresses = '{place.Address}'
                     unix_socket_directories = '{data}'
                     max_connections = 300
                     fsync = {(isDurable ? "on" : "off")}
                     log_min_messages = panic

                     """));
            await File.AppendAllTextAsync(Path.Combine(data, "pg_hba.conf"), "host all all samenet scram-sha-256\n");
            await server.StartAgainAsync();
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    /// <summary>After a <see cref="KillAsync"/>: on the same port and data.</summary>
    public async Task StartAgainAsync()
    {
        // The shell waits for the end of its input, which comes with the end of the test process however it ends.
        var start = new ProcessStartInfo("/bin/sh")
        {
            ArgumentList =
            {
                "-c", "directory=$1; shift; \"$@\" </dev/null & read -r order; kill -QUIT $! 2>/dev/null; wait $!; [ \"$order\" = keep ] || rm -rf \"$directory\"",
                "sh", _directory,
            },
            RedirectStandardInput = true,
            UseShellExecute = false,
        };
        foreach (var word in (string[])[.. _place.Enter, "setpriv", .. AsAccount, Path.Combine(_programs, "postgres"), "-D", Path.Combine(_directory, "data")])
            start.ArgumentList.Add(word);
#pragma warning disable RS0030 // A test's own background process, ended by Dispose.
        _process = Process.Start(start)!;
#pragma warning restore RS0030
        var began = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                await using var connection = new NpgsqlConnection(Connection("postgres") + ";Pooling=false");
                await connection.OpenAsync();
                return;
            }
            catch (NpgsqlException) when (!_process.HasExited && Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(60))
            {
                await Task.Delay(20);
            }
        }
    }

    /// <summary>All of it at once, as a crash would; what was committed is on its disk.</summary>
    public Task KillAsync() => EndAsync(keepsData: true);

    /// <summary>A new and empty database.</summary>
    public async Task<DatabaseAddress> CreateDatabaseAsync() =>
        DatabaseAddress.TryParse(await CreateUrlAsync(), out var address, out var error) ? address : throw new InvalidOperationException(error);

    /// <summary>The same, as <c>--database</c> takes it.</summary>
    public async Task<string> CreateUrlAsync()
    {
        var name = $"test{Interlocked.Increment(ref _databases)}";
        await using var connection = new NpgsqlConnection(Connection("postgres"));
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand($"CREATE DATABASE {name}", connection);
        await command.ExecuteNonQueryAsync();
        return Url(name);
    }

    /// <summary>As <c>--database</c> takes it.</summary>
    public string Url(string database) => $"postgres://{Role}:{Role}@{_place.Address}:{Port}/{database}";

    public async ValueTask DisposeAsync()
    {
        await EndAsync(keepsData: false);
        if (Directory.Exists(_directory))
            Directory.Delete(_directory, recursive: true);
    }

    /// <summary>Of this process, wherever it listens.</summary>
    private string Connection(string database) => $"Host={Path.Combine(_directory, "data")};Port={Port};Username={Role};Password={Role};Database={database}";

    private async Task EndAsync(bool keepsData)
    {
        if (_process is not { } process)
            return;
        _process = null;
        if (keepsData)
            await process.StandardInput.WriteLineAsync("keep");
        process.StandardInput.Close();
        await process.WaitForExitAsync();
        process.Dispose();
    }

    /// <summary>The runtime hears of no child's end any more: the shell's last act, removing the directory, says that all is gone.</summary>
    private void EndAtExit()
    {
        _process?.StandardInput.Close();
        SpinWait.SpinUntil(() => !Directory.Exists(_directory), TimeSpan.FromSeconds(5));
    }

    private static string[] AsAccount => ["--reuid", Account, "--regid", Account, "--init-groups"];

    private static async Task RunAsync(string program, IReadOnlyList<string> arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
#pragma warning disable RS0030 // Awaited here.
        using var process = Process.Start(start)!;
#pragma warning restore RS0030
        var output = process.StandardOutput.ReadToEndAsync();
        var error = await process.StandardError.ReadToEndAsync();
        await output;
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {error}");
    }

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }
}

/// <summary>Where a PostgreSQL listens.</summary>
/// <param name="NetworkNamespace">As ip-netns(8) names it; null: that of this process.</param>
/// <param name="Address">Of that namespace.</param>
public sealed record PostgresPlace(string? NetworkNamespace, string Address)
{
    internal string[] Enter => NetworkNamespace is null ? [] : ["nsenter", $"--net=/run/netns/{NetworkNamespace}"];
}
