using Microsoft.Data.Sqlite;
using Ravel.Agent.Capacity;
using Ravel.Agent.Instances;
using Ravel.Agent.Journal;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Unit.Agent.Instances;

namespace Ravel.Unit.Agent.Journal;

public sealed class AgentJournalTests : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"ravel-journal-{MachineId.New()}.db");

    public void Dispose()
    {
        foreach (var suffix in (string[])["", "-wal", "-shm"])
            File.Delete(_path + suffix);
    }

    [Fact]
    public async Task Every_record_comes_back_as_it_was_written()
    {
        var records = Records.OfEveryState().Select((record, n) => record with
        {
            Id = MachineId.New(),
            AddressIndex = n + 1,
            Disk = n % 2 == 0 ? new DiskRecord("sha256:1", 16) : null,
            Instance = record.Instance is { } instance
                ? instance with
                {
                    Id = InstanceId.New(Records.Now),
                    IsInterrupted = n % 2 == 0,
                    Problem = n % 3 == 0 ? new InstanceProblem("vmm-failed", "gone") : null,
                }
                : null,
        }).OrderBy(record => record.Id).ToList();
        await using (var journal = AgentJournal.Open(_path))
        {
            foreach (var record in records)
                await journal.CommitAsync(new JournalChange { Save = record });
        }
        await using var again = AgentJournal.Open(_path);
        Assert.Equal(records.Select(Comparable), again.Contents.Machines.Select(Comparable));

        // Lists compare by reference.
        static string Comparable(MachineRecord record) => $"{record with { Instance = null }} {record.Instance?.Facts.Network?.Nameservers.Count} {record.Instance}"
            .Replace("System.String[]", "", StringComparison.Ordinal)
            .Replace("System.Collections.Generic.List`1[System.String]", "", StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_node_keeps_its_id()
    {
        string id;
        await using (var journal = AgentJournal.Open(_path))
            id = journal.NodeId;
        await using var again = AgentJournal.Open(_path);
        Assert.Equal(16, id.Length);
        Assert.Equal(id, again.NodeId);
    }

    [Fact]
    public async Task Changes_at_once_are_all_written_and_a_bad_one_takes_no_other_along()
    {
        await using var journal = AgentJournal.Open(_path);
        var commits = Enumerable.Range(1, 100).Select(n => journal.CommitAsync(new JournalChange
        {
            Save = Records.Without() with { Id = MachineId.New(), AddressIndex = n },
        })).ToList();
        var bad = journal.CommitAsync(new JournalChange { Save = Records.Without() with { Id = MachineId.New(), AddressIndex = 50 } });
        await Task.WhenAll(commits);
        await Assert.ThrowsAsync<JournalException>(() => bad);
        await journal.DisposeAsync();
        await using var again = AgentJournal.Open(_path);
        Assert.Equal(100, again.Contents.Machines.Count);
    }

    [Fact]
    public async Task Sequence_numbers_are_never_given_again()
    {
        await using (var journal = AgentJournal.Open(_path))
        {
            await journal.CommitAsync(new JournalChange { Events = [new NodeEvent { Type = "a" }, new NodeEvent { Type = "b" }] });
            await journal.ForgetAsync(2, CancellationToken.None);
        }
        await using var again = AgentJournal.Open(_path);
        await again.CommitAsync(new JournalChange { Events = [new NodeEvent { Type = "c" }] });
        var entries = await again.ReadAfterAsync(0, 10, CancellationToken.None);
        Assert.Equal((3UL, "c"), (entries.Single().Sequence, entries.Single().Event.Type));
    }

    [Fact]
    public async Task Reservations_networks_and_the_forgotten_are_kept()
    {
        var machine = MachineId.New();
        await using (var journal = AgentJournal.Open(_path))
        {
            await journal.CommitAsync(new JournalChange { Save = Records.Without() with { Id = machine } });
            await journal.CommitAsync(new JournalChange { Forget = new MachineStatus { MachineId = machine.Value, Generation = 7 } });
            await journal.CommitAsync(new JournalChange { AddReservation = new CapacityReservation("r", machine, 1, new NodeShare(1, 2, 3, 1), Records.Now) });
            Assert.Equal(1, await journal.NetworkIndexAsync("a"));
            Assert.Equal(2, await journal.NetworkIndexAsync("b"));
        }
        await using var again = AgentJournal.Open(_path);
        Assert.Empty(again.Contents.Machines);
        Assert.Equal(7UL, again.Contents.Forgotten[machine].Generation);
        Assert.Equal(new NodeShare(1, 2, 3, 1), again.Contents.Reservations.Single().Share);
        Assert.Equal(1, await again.NetworkIndexAsync("a"));
    }

    [Fact]
    public async Task A_journal_of_a_newer_version_is_refused()
    {
        await using (AgentJournal.Open(_path))
        {
        }
        await using (var connection = new SqliteConnection($"Data Source={_path};Pooling=False"))
        {
            await connection.OpenAsync();
            await using var command = connection.CreateCommand();
            command.CommandText = "PRAGMA user_version = 99";
            await command.ExecuteNonQueryAsync();
        }
        Assert.Contains("newer", Assert.Throws<JournalException>(() => AgentJournal.Open(_path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_no_journal_is_refused()
    {
        File.WriteAllText(_path, string.Concat(Enumerable.Repeat("not a database ", 100)));
        Assert.Throws<JournalException>(() => AgentJournal.Open(_path));
    }
}
