using System.Security.Cryptography;
using System.Threading.Channels;
using Microsoft.Data.Sqlite;
using Ravel.Contracts.Node;
using Ravel.Durable.Outboxes;

namespace Ravel.Agent.Journal;

/// <summary>
/// What the agent must not forget, in one SQLite file: a change is on the disk (fsync) when its task completes. One
/// writer; changes that wait while it writes are committed together, so that many transitions share one fsync.
/// </summary>
internal sealed class AgentJournal : IOutboxStore<NodeEvent>, IAsyncDisposable
{
    private const int MaxBatch = 256;
    private const int SqliteFull = 13;

    private readonly string _path;
    private readonly JournalStatements _writes;
    private readonly JournalStatements _reads;
    private readonly SqliteConnection _connection;
    private readonly SemaphoreSlim _reading = new(1);
    private readonly Channel<Request> _requests = Channel.CreateUnbounded<Request>(new UnboundedChannelOptions { SingleReader = true });
    private readonly JournalFaults? _faults;
    private readonly Task _writer;

    private AgentJournal(string path, SqliteConnection connection, SqliteConnection readConnection, JournalFaults? faults)
    {
        _path = path;
        _connection = connection;
        _writes = new JournalStatements(connection);
        _reads = new JournalStatements(readConnection);
        _faults = faults;
        NodeId = JournalRows.ReadMeta(_reads, "node_id")!;
        Contents = JournalRows.ReadAll(_reads);
        _writer = Task.Run(WriteAllAsync);
    }

    /// <summary>Made up when the journal was.</summary>
    public string NodeId { get; }

    /// <summary>What it held when it was opened.</summary>
    public JournalContents Contents { get; }

    /// <param name="path">The file; made when missing.</param>
    /// <param name="faults">For tests.</param>
    /// <exception cref="JournalException">It is damaged, written by a newer Ravel, or not writable.</exception>
    public static AgentJournal Open(string path, JournalFaults? faults = null)
    {
        SqliteConnection? connection = null;
        try
        {
            connection = Connect(path);
            JournalSchema.Migrate(connection, path);
            using (var first = connection.CreateCommand())
            {
                first.CommandText = "INSERT OR IGNORE INTO meta (name, value) VALUES ('node_id', $id)";
                first.Parameters.AddWithValue("$id", Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8)));
                first.ExecuteNonQuery();
            }
            return new AgentJournal(path, connection, Connect(path), faults);
        }
        catch (SqliteException e)
        {
            connection?.Dispose();
            throw new JournalException($"the journal {path} cannot be opened: {e.Message}", e);
        }
        catch
        {
            connection?.Dispose();
            throw;
        }
    }

    /// <summary>Writes a change; it is durable when the task completes.</summary>
    /// <exception cref="JournalFullException">The disk is full.</exception>
    /// <exception cref="JournalException">It could not be written; nothing of it was.</exception>
    public Task CommitAsync(JournalChange change) => EnqueueAsync(statements => JournalRows.Write(statements, change));

    /// <summary>The number of a namespace's network on this node, given at first use and never again to another.</summary>
    public async Task<int> NetworkIndexAsync(string @namespace)
    {
        var index = 0;
        await EnqueueAsync(statements => index = JournalRows.NetworkIndex(statements, @namespace));
        return index;
    }

    /// <summary>Stores the host's boot id; returns the one stored before.</summary>
    public async Task<string?> ExchangeBootIdAsync(string bootId)
    {
        string? last = null;
        await EnqueueAsync(statements =>
        {
            last = JournalRows.ReadMeta(statements, "boot_id");
            if (last != bootId)
                JournalRows.WriteMeta(statements, "boot_id", bootId);
        });
        return last;
    }

    public async Task<IReadOnlyList<OutboxEntry<NodeEvent>>> ReadAfterAsync(ulong sequence, int limit, CancellationToken cancellationToken)
    {
        await _reading.WaitAsync(cancellationToken);
        try
        {
            return JournalRows.ReadEvents(_reads, sequence, limit);
        }
        finally
        {
            _reading.Release();
        }
    }

    public Task ForgetAsync(ulong sequence, CancellationToken cancellationToken) =>
        sequence == 0 ? Task.CompletedTask : EnqueueAsync(statements => JournalRows.ForgetEvents(statements, sequence));

    public async ValueTask DisposeAsync()
    {
        if (!_requests.Writer.TryComplete())
            return;
        await _writer;
        await _reading.WaitAsync();
        _writes.Dispose();
        _reads.Dispose();
        _reading.Dispose();
    }

    private static SqliteConnection Connect(string path)
    {
        // Not pooled: closing the journal has to close the file.
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString());
        try
        {
            connection.Open();
            using var command = connection.CreateCommand();
            command.CommandText = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000";
            command.ExecuteNonQuery();
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private Task EnqueueAsync(Action<JournalStatements> write)
    {
        var request = new Request(write);
        ObjectDisposedException.ThrowIf(!_requests.Writer.TryWrite(request), this);
        return request.Completion.Task;
    }

    private async Task WriteAllAsync()
    {
        var batch = new List<Request>();
        while (await _requests.Reader.WaitToReadAsync())
        {
            batch.Clear();
            while (batch.Count < MaxBatch && _requests.Reader.TryRead(out var request))
                batch.Add(request);
            if (TryWrite(batch, out var failure))
            {
                Complete(batch);
                continue;
            }
            // One bad change must not take the others along.
            foreach (var request in batch)
            {
                if (batch.Count > 1 && TryWrite([request], out failure))
                    Complete([request]);
                else
                    request.Completion.SetException(Explain(failure!));
            }
        }
    }

    private bool TryWrite(List<Request> batch, out Exception? failure)
    {
        try
        {
            _faults?.BeforeCommit();
            using var transaction = _connection.BeginTransaction(deferred: false);
            _writes.Transaction = transaction;
            foreach (var request in batch)
                request.Write(_writes);
            transaction.Commit();
            failure = null;
            return true;
        }
        catch (Exception e)
        {
            failure = e;
            return false;
        }
    }

    private void Complete(List<Request> batch)
    {
        foreach (var request in batch)
        {
            try
            {
                _faults?.AfterCommit();
                request.Completion.SetResult();
            }
            catch (Exception e)
            {
                request.Completion.SetException(e);
            }
        }
    }

    private Exception Explain(Exception e) => e switch
    {
        SqliteException { SqliteErrorCode: SqliteFull } => new JournalFullException($"the disk that holds {_path} is full: free some space", e),
        SqliteException => new JournalException($"the journal {_path} could not be written: {e.Message}", e),
        _ => e,
    };

    private sealed record Request(Action<JournalStatements> Write)
    {
        public TaskCompletionSource Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

/// <summary>For tests: stands before a transaction, and between a commit and the one who waits for it. An exception is a crash there.</summary>
internal sealed record JournalFaults(Action BeforeCommit, Action AfterCommit);
