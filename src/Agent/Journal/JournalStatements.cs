using Microsoft.Data.Sqlite;

namespace Ravel.Agent.Journal;

/// <summary>The statements of one connection, each compiled once.</summary>
internal sealed class JournalStatements : IDisposable
{
    private readonly SqliteConnection _connection;
    private readonly Dictionary<string, SqliteCommand> _commands = [];

    public JournalStatements(SqliteConnection connection) => _connection = connection;

    /// <summary>The transaction the next statements belong to.</summary>
    public SqliteTransaction? Transaction { get; set; }

    /// <param name="text">A constant; its parameters are $p0, $p1, …</param>
    /// <param name="values">Their values.</param>
    public void Execute(string text, params ReadOnlySpan<object?> values) => Prepare(text, values).ExecuteNonQuery();

    /// <summary>As <see cref="Execute"/>; the reader has to be disposed before the same text is used again.</summary>
    public SqliteDataReader Query(string text, params ReadOnlySpan<object?> values) => Prepare(text, values).ExecuteReader();

    public void Dispose()
    {
        foreach (var command in _commands.Values)
            command.Dispose();
        _connection.Dispose();
    }

    private SqliteCommand Prepare(string text, ReadOnlySpan<object?> values)
    {
        if (!_commands.TryGetValue(text, out var command))
        {
            command = _connection.CreateCommand();
#pragma warning disable CA2100 // Only constants come here; values are parameters.
            command.CommandText = text;
#pragma warning restore CA2100
            for (var i = 0; i < values.Length; i++)
                command.Parameters.Add(new SqliteParameter { ParameterName = $"$p{i}" });
            _commands.Add(text, command);
        }
        command.Transaction = Transaction;
        for (var i = 0; i < values.Length; i++)
            command.Parameters[i].Value = values[i] ?? DBNull.Value;
        return command;
    }
}
