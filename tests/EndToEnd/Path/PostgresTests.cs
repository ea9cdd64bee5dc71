using System.Globalization;
using Ravel.Testing.EndToEnd;
using Ravel.Testing.Images;
using Ravel.Testing.Needs;

namespace Ravel.EndToEnd.Path;

/// <summary>A database on a volume, whose machine is taken away while clients write: its own recovery finds all it had promised.</summary>
[Collection(nameof(OneHost))]
public sealed class PostgresTests(OneHost one)
{
    private const string Port = "18095";

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    private readonly RavelHost _host = one.Host;

    [Fact]
    public Task Every_commit_that_was_acknowledged_outlives_the_machine() => LoseMachinesAsync("kept-once", rounds: 1, writers: 2, commits: 40);

    [Fact(Explicit = true)]
    [Trait("Kind", "Soak")]
    public Task Every_commit_that_was_acknowledged_outlives_eight_machines() => LoseMachinesAsync("kept-often", rounds: 8, writers: 6, commits: 250);

    private async Task LoseMachinesAsync(string volume, int rounds, int writers, int commits)
    {
        Need.Program("psql");
        var image = await one.Images.PushAsync(await SoftwareImages.All["postgres"].BuildAsync(), "library/postgres:15");
        await _host.RavelOkAsync("volume", "create", "--size", "1g", volume);
        await StartAsync(volume, image);
        await QueryAsync("create table written (writer int, n int, filling text, primary key (writer, n)); create extension amcheck;");

        var acknowledged = new int[writers];
        for (var round = 1; round <= rounds; round++)
        {
            var clients = Enumerable.Range(0, writers).Select(number => new Writer(_host, number, acknowledged[number], round * commits)).ToList();
            await Task.WhenAll(clients.Select(client => client.Enough));
            // All of them are writing.
            await _host.RavelOkAsync("rm", "-f", "database");
            foreach (var client in clients)
                await client.DisposeAsync();
            acknowledged = [.. clients.Select(client => client.Acknowledged)];

            await StartAsync(volume, image);
            var log = await LogAsync();
            Assert.Contains("automatic recovery in progress", log, StringComparison.Ordinal);
            for (var writer = 0; writer < writers; writer++)
            {
                // One more may have been committed, whose answer was cut off.
                var there = (await QueryAsync($"select count(*), coalesce(max(n), 0) from written where writer = {writer};")).Trim().Split('|').Select(int.Parse).ToArray();
                Assert.True(there[0] == there[1] && (there[0] == acknowledged[writer] || there[0] == acknowledged[writer] + 1), $"round {round}: writer {writer} was told of {acknowledged[writer]}, {there[0]} are there, the last is {there[1]}");
                acknowledged[writer] = there[0];
            }
            Assert.Equal("t", (await QueryAsync("select bool_and(bt_index_check(index => c.oid, heapallindexed => true)::text = '') from pg_class c join pg_am a on a.oid = c.relam where a.amname = 'btree' and c.relkind = 'i' and c.relpersistence = 'p';")).Trim());
            Assert.Equal("0", (await QueryAsync("select count(*) from verify_heapam('written');")).Trim());
            TestContext.Current.TestOutputHelper!.WriteLine($"round {round}: {acknowledged.Sum()} commits acknowledged and there");
        }

        // Stopped as its image says: it writes all it has and ends well, and every page has the checksum it should.
        await _host.RavelOkAsync("stop", "-t", "60", "database");
        Assert.Equal(0, (await _host.InspectAsync("database")).Exit?.ExitCode);
        await _host.RavelOkAsync("rm", "database");
        var check = await _host.RavelOkAsync("run", "--rm", "--user", "postgres", "-v", $"{volume}:/data", image, "pg_checksums", "--check");
        Assert.Contains("Bad checksums:  0", check, StringComparison.Ordinal);
        await _host.RavelOkAsync("volume", "rm", volume);
    }

    private async Task StartAsync(string volume, string image)
    {
        await _host.RunDetachedAsync("--name", "database", "--memory", "512m", "-v", $"{volume}:/data", "-p", $"{Port}:5432", image);
        var deadline = TimeProvider.System.GetUtcNow() + Patience;
        while ((await PsqlAsync("select 1;")).ExitCode != 0)
        {
            Assert.True(TimeProvider.System.GetUtcNow() < deadline && (await _host.InspectAsync("database")).State == "started", await LogAsync());
            await Task.Delay(200);
        }
    }

    private async Task<string> LogAsync()
    {
        var logs = await _host.RavelAsync("logs", "database");
        return logs.Output + logs.Error;
    }

    private Task<Linux.Processes.CommandResult> PsqlAsync(string sql) =>
        _host.InNamespaceAsync("psql", "-h", "127.0.0.1", "-p", Port, "-U", "postgres", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql);

    private async Task<string> QueryAsync(string sql)
    {
        var result = await PsqlAsync(sql);
        return result.ExitCode == 0 ? result.Output : throw new InvalidOperationException($"{sql}: {result.Error}{await LogAsync()}");
    }

    /// <summary>Commits row after row, and notes each that was acknowledged, until its connection is taken away.</summary>
    private sealed class Writer : IAsyncDisposable
    {
        private readonly BackgroundProgram _psql;
        private readonly TaskCompletionSource _enough = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Task _writing;

        public Writer(RavelHost host, int number, int acknowledged, int enough)
        {
            _psql = host.Start("psql", ["-h", "127.0.0.1", "-p", Port, "-U", "postgres", "-X", "-At", "-q", "-v", "ON_ERROR_STOP=1"]);
            Acknowledged = acknowledged;
            _writing = WriteAsync(number, enough);
        }

        public int Acknowledged { get; private set; }

        /// <summary>It has written so much, and goes on.</summary>
        public Task Enough => _enough.Task;

        public async ValueTask DisposeAsync()
        {
            // A machine that is gone does not say so: psql would wait for its answer.
            await _psql.DisposeAsync();
            await _writing;
        }

        private async Task WriteAsync(int number, int enough)
        {
            try
            {
                while (true)
                {
                    var next = (Acknowledged + 1).ToString(CultureInfo.InvariantCulture);
                    await _psql.Input.WriteLineAsync($"insert into written values ({number}, {next}, repeat('x', 500)) returning n;");
                    await _psql.Input.FlushAsync();
                    if (await _psql.ReadLineAsync(Patience) != next)
                        throw new InvalidOperationException($"not the answer to {next}");
                    if (++Acknowledged >= enough)
                        _enough.TrySetResult();
                }
            }
            catch (Exception e) when (e is IOException or InvalidOperationException)
            {
                // As meant, unless it had not written enough.
                _enough.TrySetException(e);
            }
        }
    }
}
