using System.Text;
using Microsoft.Extensions.Time.Testing;
using Ravel.Agent.Logs;
using Ravel.Contracts.Ids;

namespace Ravel.Unit.Agent.Logs;

/// <summary>What a machine printed before it was removed reaches who follows it, and whoever asks a moment later.</summary>
public sealed class LogStoreTests : IDisposable
{
    private static readonly InstanceId Instance = InstanceId.Parse("01M84F5FG47PQ6A74NFHRZCBJA");

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-logs-").FullName;
    private readonly FakeTimeProvider _time = new();
    private readonly LogStore _logs;

    public LogStoreTests() => _logs = new LogStore(_directory, new LogOptions { SegmentBytes = 4096, MaxSegments = 20 }, _time);

    public void Dispose()
    {
        _logs.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task A_follower_reads_a_removed_log_to_its_end()
    {
        var machine = MachineId.New();
        var expected = Print(machine, 400);
        var isOver = false;
        var follower = _logs.Of(machine).ReadAsync(new LogQuery(Follow: true), () => isOver, CancellationToken.None).GetAsyncEnumerator();
        Assert.True(await follower.MoveNextAsync());
        var read = new StringBuilder(Encoding.UTF8.GetString(follower.Current.Data.Span));

        isOver = true;
        _logs.Remove(machine);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_directory));
        while (await follower.MoveNextAsync())
            read.Append(Encoding.UTF8.GetString(follower.Current.Data.Span));
        await follower.DisposeAsync();

        Assert.Equal(expected, read.ToString());
    }

    [Fact]
    public async Task Who_asks_while_a_log_is_removed_gets_it_whole_or_none_and_brings_nothing_back()
    {
        for (var round = 0; round < 200; round++)
        {
            var machine = MachineId.New();
            // Of an agent that was started anew: nobody has opened it yet.
            using (var before = new LogStore(_directory, new LogOptions(), _time))
                before.Of(machine).Append(Instance, LogStream.Stdout, "line 0\n"u8.ToArray(), 0, 1);

            using var start = new Barrier(2);
            var reading = Task.Run(() =>
            {
                start.SignalAndWait();
                return _logs.Find(machine);
            });
            start.SignalAndWait();
            _logs.Remove(machine);
            if (await reading is { } log)
            {
                var records = await log.ReadAsync(new LogQuery(Follow: false), () => true, CancellationToken.None).ToListAsync(TestContext.Current.CancellationToken);
                Assert.Equal("line 0\n", Encoding.UTF8.GetString(Assert.Single(records).Data.Span));
            }
            Assert.Empty(Directory.EnumerateFileSystemEntries(_directory));
        }
    }

    [Fact]
    public async Task A_removed_log_is_found_for_a_moment_and_then_let_go()
    {
        var machine = MachineId.New();
        Print(machine, 1);
        _logs.Remove(machine);

        var lines = new List<string>();
        await foreach (var record in _logs.FindRemoved(machine)!.ReadAsync(new LogQuery(Follow: true), () => true, CancellationToken.None))
            lines.Add(Encoding.UTF8.GetString(record.Data.Span));
        Assert.Equal("line 0\n", Assert.Single(lines));

        _time.Advance(LogStore.Kept);
        Assert.Null(_logs.FindRemoved(machine));
        Assert.DoesNotContain(
            new DirectoryInfo("/proc/self/fd").EnumerateFileSystemInfos(), fd => fd.LinkTarget?.Contains(machine.Value, StringComparison.Ordinal) == true);
    }

    [Fact]
    public void Of_many_removed_logs_only_the_newest_are_kept()
    {
        var machines = Enumerable.Range(0, LogStore.MaxKept + 1).Select(_ => MachineId.New()).ToList();
        foreach (var machine in machines)
        {
            Print(machine, 1);
            _logs.Remove(machine);
        }
        Assert.Null(_logs.FindRemoved(machines[0]));
        Assert.All(machines.Skip(1), machine => Assert.NotNull(_logs.FindRemoved(machine)));
    }

    private string Print(MachineId machine, int lines)
    {
        var text = new StringBuilder();
        for (var i = 0; i < lines; i++)
        {
            var line = $"line {i}\n";
            _logs.Of(machine).Append(Instance, LogStream.Stdout, Encoding.UTF8.GetBytes(line), (ulong)text.Length, i + 1);
            text.Append(line);
        }
        return text.ToString();
    }
}
