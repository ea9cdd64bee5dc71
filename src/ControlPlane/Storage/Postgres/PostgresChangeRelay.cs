using System.Threading.Channels;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Ravel.ControlPlane.Machines;
using Ravel.Durable;

namespace Ravel.ControlPlane.Storage.Postgres;

/// <summary>
/// Makes a change that one server committed wake the waiters of the others, by NOTIFY and LISTEN. Sent after the commit, many changes in
/// one message, because PostgreSQL lets transactions that notify commit only one at a time. A message that is lost costs time and
/// nothing else: whoever waits also looks again by a timer.
/// </summary>
internal sealed class PostgresChangeRelay : BackgroundService
{
    private const string Name = "ravel_machines";

    /// <summary>PostgreSQL takes payloads below 8,000 bytes.</summary>
    private const int MaxPayload = 7_900;

    private static readonly BackoffPolicy Retry = new(TimeSpan.FromMilliseconds(100), 2, TimeSpan.FromSeconds(5));

    private readonly Channel<string> _changed = Channel.CreateBounded<string>(new BoundedChannelOptions(20_000)
    {
        FullMode = BoundedChannelFullMode.DropOldest,
        SingleReader = true,
    });

    /// <summary>First in a message, so that a server does not wake itself twice.</summary>
    private readonly string _self = Ulid.NewUlid().ToString();

    private readonly PostgresDatabase _database;
    private readonly MachineChanges _changes;
    private readonly TimeProvider _time;
    private readonly ILogger<PostgresChangeRelay> _log;

    public PostgresChangeRelay(PostgresDatabase database, MachineChanges changes, TimeProvider time, ILogger<PostgresChangeRelay> log)
    {
        (_database, _changes, _time, _log) = (database, changes, time, log);
        changes.Published += id => _changed.Writer.TryWrite(id);
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(
            RepeatAsync("Changes can't be told to other servers", SendAsync, stoppingToken),
            RepeatAsync("Changes of other servers can't be heard", ListenAsync, stoppingToken));

    private async Task RepeatAsync(string what, Func<CancellationToken, Task> work, CancellationToken stoppingToken)
    {
        for (var failures = 1; !stoppingToken.IsCancellationRequested; failures++)
        {
            var began = _time.GetTimestamp();
            try
            {
                await work(stoppingToken);
            }
            catch (Exception) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is NpgsqlException or IOException or TimeoutException)
            {
                if (_time.GetElapsedTime(began) > Retry.Longest)
                    failures = 1;
                if (failures == 1)
                    _log.LogWarning("{What} while the database is away: {Message}", what, e.Message);
                await Task.Delay(Retry.DelayAfter(failures), _time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task SendAsync(CancellationToken cancellationToken)
    {
        var ids = new HashSet<string>();
        while (await _changed.Reader.WaitToReadAsync(cancellationToken))
        {
            ids.Clear();
            var length = _self.Length;
            while (length < MaxPayload - 32 && _changed.Reader.TryRead(out var id))
            {
                if (ids.Add(id))
                    length += id.Length + 1;
            }
            await using var command = _database.Source.CreateCommand("SELECT pg_notify($1, $2)");
            command.Parameters.AddWithValue(Name);
            command.Parameters.AddWithValue(string.Join(' ', ids.Prepend(_self)));
            await command.ExecuteNonQueryAsync(cancellationToken);
        }
    }

    private async Task ListenAsync(CancellationToken cancellationToken)
    {
        await using var connection = await _database.Source.OpenConnectionAsync(cancellationToken);
        connection.Notification += (_, message) =>
        {
            if (message.Payload.Split(' ') is [var sender, .. var ids] && sender != _self)
            {
                foreach (var id in ids)
                    _changes.Hear(id);
            }
        };
        // The connection that lives as long as this server says that it is there, too.
        await using (var listen = new NpgsqlCommand($"SELECT pg_advisory_lock_shared({PostgresDatabase.ServerLock}); LISTEN {Name}", connection))
            await listen.ExecuteNonQueryAsync(cancellationToken);
        // What was said before this connection listened.
        _changes.HearAll();
        while (true)
            await connection.WaitAsync(cancellationToken);
    }
}
