using System.Collections.Concurrent;
using System.Data.Common;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using Microsoft.Data.Sqlite;
using Npgsql;
using Ravel.Agent.Capacity;
using Ravel.Bench.Daemon;
using Ravel.Bench.Results;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.ControlPlane;
using Ravel.Testing.Scale;

namespace Ravel.Bench.Placement;

/// <summary>
/// Machines created over HTTP, placed on simulated nodes over gRPC, committed to a real database: by number of nodes and by engine. Clients
/// and nodes are in this process, the server in one of its own, and all share the machine with the database.
/// </summary>
internal static class PlacementBenchmark
{
    private const int MachinesPerApp = 100;
    private const int Zones = 3;
    private const int Together = 100;
    private static readonly TimeSpan Idle = TimeSpan.FromSeconds(30);

    private static readonly MachineConfig Config = new() { Image = "nginx", Guest = new GuestSize { Cpus = 1, MemoryMb = 512 } };

    public static BenchCommand Command { get; } = new(
        "placement", "[--nodes N,…] [--machines N] [--engine E] [--in-flight N] [--write]", "machines placed durably on simulated nodes: rate, latency, memory", RunAsync);

    public static string NodeName(int i) => string.Create(CultureInfo.InvariantCulture, $"node-{i}");

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var (sizes, machines, engines, inFlight, write) = Parse(arguments);
        ThreadPool.SetMinThreads(32, 32);
        List<string[]> rows = [["engine", "nodes", "machines", "one by one", "p50", "p99", "server's CPU each", "hundreds", "told and started", "server's memory", "idle"]];
        foreach (var engine in engines)
        {
            foreach (var size in sizes)
            {
                rows.Add(await MeasureAsync(engine, size, machines, inFlight, cancellationToken));
                Console.WriteLine(string.Join(" | ", rows[^1]));
            }
        }
        var table = ResultTable.Render(rows);
        Console.WriteLine();
        Console.Write(table);
        if (write)
            await BenchmarksPage.WriteAsync("placement", "placement --write", Explanation(inFlight), table, cancellationToken);
        return 0;
    }

    private static string Explanation(int inFlight) =>
        $"Machines of apps of {MachinesPerApp} created over HTTP, on nodes in {Zones} zones that are gRPC endpoints with the agent's ledger and run nothing; PostgreSQL and SQLite write durably. "
        + $"Half of the machines *one by one* (a request each, {inFlight} in flight; the time of one request is p50 and p99), half by *hundreds* (a bulk request each, 4 in flight), in machines a second "
        + "until the last is answered: reserved on its node and committed. *Told and started*: machines a second of both halves until the server has stored that every node has its machines and runs them. "
        + "*Memory* is the most the server's process ever had resident; *idle* is its share of one core while it only looks after its nodes. Clients, nodes, server and database share the machine's cores.";

    private static async Task<string[]> MeasureAsync(string engine, int size, int machines, int inFlight, CancellationToken cancellationToken)
    {
        var directory = Directory.CreateTempSubdirectory("ravel-bench-placement-").FullName;
        await using var postgres = engine == "postgres" ? await PostgresServer.StartAsync(isDurable: true) : null;
        try
        {
            var database = Path.Combine(directory, "server.db");
            if (postgres is not null)
            {
                await postgres.CreateDatabaseAsync();
                database = postgres.Url("test1");
            }
            await using var nodes = await new SimulatedNodes().StartAsync();
            var each = Math.Max(1, machines / size) + 2;
            for (var i = 0; i < size; i++)
                nodes.Add(new SimulatedNode(NodeName(i), new NodeShare(each, each * 512L, 1 << 20, each)) { Region = "eu", Zone = $"z{i % Zones}" });
            await using var server = await ServerUnderTest.StartAsync(database, size, nodes.Port, cancellationToken);
            using var client = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 512 }) { BaseAddress = server.Address, Timeout = TimeSpan.FromMinutes(5) };
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", server.Token);
            for (var app = 0; app <= machines / MachinesPerApp; app++)
                await client.CreateAppAsync($"app-{app}");
            // What is compiled, connected and cached only once.
            await SinglesAsync(client, 0, Math.Min(500, machines / 10), inFlight, cancellationToken);
            await StartedAsync(database, Math.Min(500, machines / 10), cancellationToken);
            var warm = nodes.All.Sum(node => node.Running);

            var cpu = ProcessFigures.CpuTime(server.Pid);
            await Task.Delay(Idle, cancellationToken);
            var idle = (ProcessFigures.CpuTime(server.Pid) - cpu) / Idle;

            var half = machines / 2;
            cpu = ProcessFigures.CpuTime(server.Pid);
            var began = Stopwatch.GetTimestamp();
            var latencies = await SinglesAsync(client, warm, half, inFlight, cancellationToken);
            var singles = Stopwatch.GetElapsedTime(began);
            await StartedAsync(database, half, cancellationToken);
            var started = Stopwatch.GetElapsedTime(began);
            var used = ProcessFigures.CpuTime(server.Pid) - cpu;
            began = Stopwatch.GetTimestamp();
            await BulkAsync(client, half, machines - half - warm, cancellationToken);
            var bulk = Stopwatch.GetElapsedTime(began);
            await StartedAsync(database, machines, cancellationToken);
            started += Stopwatch.GetElapsedTime(began);

            return
            [
                engine, $"{size:N0}", $"{machines:N0}", $"{half / singles.TotalSeconds:N0}/s", $"{latencies[latencies.Count / 2]:0} ms",
                $"{latencies[latencies.Count * 99 / 100]:0} ms", $"{used.TotalMicroseconds / half:0} µs", $"{(machines - half - warm) / bulk.TotalSeconds:N0}/s",
                $"{(machines - warm) / started.TotalSeconds:N0}/s", $"{PeakMib(server.Pid)} MiB", $"{idle * 100:0} %",
            ];
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>Creates machines one by one.</summary>
    /// <returns>Milliseconds of each, sorted.</returns>
    private static async Task<List<double>> SinglesAsync(HttpClient client, int first, int count, int inFlight, CancellationToken cancellationToken)
    {
        var latencies = new ConcurrentBag<double>();
        await Parallel.ForEachAsync(
            Enumerable.Range(first, count),
            new ParallelOptions { MaxDegreeOfParallelism = inFlight, CancellationToken = cancellationToken },
            async (i, token) =>
            {
                var began = Stopwatch.GetTimestamp();
                await client.TryCreateMachineAsync($"app-{i / MachinesPerApp}", new CreateMachineRequest { Config = Config }).OkAsync();
                latencies.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
            });
        return [.. latencies.Order()];
    }

    private static async Task BulkAsync(HttpClient client, int first, int count, CancellationToken cancellationToken) =>
        await Parallel.ForEachAsync(
            Enumerable.Range(0, (count + Together - 1) / Together),
            new ParallelOptions { MaxDegreeOfParallelism = 4, CancellationToken = cancellationToken },
            async (i, token) =>
            {
                var request = new CreateMachinesRequest { Count = Math.Min(Together, count - (i * Together)), Config = Config };
                await client.PostJsonAsync($"/v1/apps/app-{(first / MachinesPerApp) + i}/machines/bulk", request, ApiJson.Default.CreateMachinesRequest).OkAsync();
            });

    /// <summary>Until the server has stored that nodes run so many machines.</summary>
    private static async Task StartedAsync(string database, int count, CancellationToken cancellationToken)
    {
        _ = DatabaseAddress.TryParse(database, out var address, out _);
        await using DbConnection connection = address!.Postgres is { } postgres ? new NpgsqlConnection(postgres) : new SqliteConnection($"Data Source={address.File}");
        await connection.OpenAsync(cancellationToken);
        await using var command = connection.CreateCommand();
        command.CommandText = """SELECT count(*) FROM machines WHERE "ObservedState" = 'started'""";
        while (Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken), CultureInfo.InvariantCulture) < count)
            await Task.Delay(200, cancellationToken);
    }

    private static long PeakMib(int pid) => long.Parse(
        File.ReadLines($"/proc/{pid}/status").First(line => line.StartsWith("VmHWM:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture) >> 10;

    private static (int[] Nodes, int Machines, string[] Engines, int InFlight, bool Write) Parse(IReadOnlyList<string> arguments)
    {
        int[] nodes = [100, 1_000, 5_000];
        var (machines, inFlight, write) = (50_000, 64, false);
        string[] engines = ["postgres", "sqlite"];
        for (var i = 0; i < arguments.Count; i++)
        {
            var value = i + 1 < arguments.Count ? arguments[i + 1] : "";
            switch (arguments[i])
            {
                case "--write":
                    write = true;
                    continue;
                case "--nodes":
                    nodes = [.. value.Split(',').Select(Number)];
                    break;
                case "--machines":
                    machines = Number(value);
                    break;
                case "--in-flight":
                    inFlight = Number(value);
                    break;
                case "--engine" when value is "postgres" or "sqlite":
                    engines = [value];
                    break;
                default:
                    throw new BenchUsageException($"'{arguments[i]}' is not understood");
            }
            i++;
        }
        return (nodes, machines, engines, inFlight, write);

        static int Number(string text) =>
            int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0 ? number : throw new BenchUsageException($"'{text}' is no number above 0");
    }
}
