using System.Text;
using Ravel.Agent.Logs;
using Ravel.Contracts.Ids;

namespace Ravel.Unit.Agent.Logs;

public sealed class MachineLogTests : IDisposable
{
    private static readonly InstanceId First = InstanceId.Parse("01M84F5FG47PQ6A74NFHRZCBJA");
    private static readonly InstanceId Second = InstanceId.Parse("01M84F5FG47PQ6A74NFHRZCBJB");

    private readonly string _directory = Path.Combine(Path.GetTempPath(), "ravel-log-" + MachineId.New());
    private readonly LogOptions _options = new() { SegmentBytes = 4096, MaxSegments = 3 };

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Lines_come_back_as_they_were_printed()
    {
        using var log = Open();
        Append(log, LogStream.Stdout, "one\ntwo\npart", 0, 50);
        Append(log, LogStream.Stderr, "oops\n", 0, 60);
        Append(log, LogStream.Stdout, " rest\n", 12, 70);
        var records = await ReadAsync(log, new LogQuery());
        Assert.Equal(
            ["Stdout 50 one\n", "Stdout 51 two\n", "Stdout 52 part", "Stderr 60 oops\n", "Stdout 70  rest\n"],
            records.Select(r => $"{r.Stream} {r.Nanoseconds} {r.Text}"));
        Assert.Equal(new LogOffsets(18, 5), log.OffsetsOf(First));
        Assert.Equal(default, log.OffsetsOf(Second));
    }

    [Fact]
    public async Task No_two_records_have_the_same_time_not_even_across_files_and_restarts()
    {
        const int Lines = 200;
        var options = new LogOptions { SegmentBytes = 4096, MaxSegments = 100 };
        for (var run = 0; run < 2; run++)
        {
            using var log = new MachineLog(_directory, options);
            for (var i = 0; i < Lines; i++)
                Append(log, LogStream.Stdout, "line\n", (ulong)(((run * Lines) + i) * 5), 1_000);
        }
        using var again = new MachineLog(_directory, options);
        var times = (await ReadAsync(again, new LogQuery())).Select(r => r.Nanoseconds);
        Assert.Equal(Enumerable.Range(1_000, 2 * Lines).Select(n => (long)n), times);
    }

    [Fact]
    public async Task An_over_long_line_comes_in_parts_that_are_whole_together()
    {
        using var log = Open();
        var line = new string('x', (LogRecord.MaxData * 2) + 100) + "\n";
        Append(log, LogStream.Stdout, line, 0);
        var records = await ReadAsync(log, new LogQuery());
        Assert.Equal(3, records.Count);
        Assert.Equal(line, string.Concat(records.Select(r => r.Text)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(30)]
    [InlineData(52)]
    public async Task A_record_a_crash_left_half_written_is_cut_off_and_its_offset_with_it(int bytesLost)
    {
        using (var log = Open())
        {
            Append(log, LogStream.Stdout, "one\n", 0);
            Append(log, LogStream.Stdout, "two\n", 4);
        }
        var file = Directory.EnumerateFiles(_directory).Single();
        using (var stream = new FileStream(file, FileMode.Open))
            stream.SetLength(stream.Length - bytesLost);

        using var again = Open();
        Assert.Equal(4UL, again.OffsetsOf(First).Stdout);
        Append(again, LogStream.Stdout, "two\n", 4);
        Assert.Equal(["one\n", "two\n"], (await ReadAsync(again, new LogQuery())).Select(r => r.Text));
    }

    [Fact]
    public async Task A_flipped_byte_ends_the_log_there()
    {
        using (var log = Open())
        {
            Append(log, LogStream.Stdout, "one\n", 0);
            Append(log, LogStream.Stdout, "two\n", 4);
        }
        var file = Directory.EnumerateFiles(_directory).Single();
        var bytes = await File.ReadAllBytesAsync(file);
        bytes[^2] ^= 1;
        await File.WriteAllBytesAsync(file, bytes);
        using var again = Open();
        Assert.Equal(4UL, again.OffsetsOf(First).Stdout);
    }

    [Fact]
    public async Task Old_files_go_and_the_offset_of_a_stream_that_prints_seldom_stays()
    {
        ulong offset = 0;
        using (var log = Open())
        {
            Append(log, LogStream.Stderr, "only once\n", 0);
            for (var i = 0; i < 1000; i++)
            {
                var line = $"line {i}\n";
                Append(log, LogStream.Stdout, line, offset);
                offset += (ulong)line.Length;
            }
        }
        Assert.Equal(3, Directory.EnumerateFiles(_directory).Count());
        Assert.All(Directory.EnumerateFiles(_directory), file => Assert.InRange(new FileInfo(file).Length, 1, 4096 + 200));
        using var again = Open();
        Assert.Equal(new LogOffsets(offset, 10), again.OffsetsOf(First));
        var lines = (await ReadAsync(again, new LogQuery())).Select(r => r.Text).ToList();
        Assert.Equal("line 999\n", lines[^1]);
        Assert.Equal(Enumerable.Range(1000 - lines.Count, lines.Count).Select(i => $"line {i}\n"), lines);
    }

    [Fact]
    public async Task Tail_counts_lines_not_records()
    {
        using var log = Open();
        Append(log, LogStream.Stdout, "one\nt", 0);
        Append(log, LogStream.Stdout, "wo\nthree\n", 5);
        Assert.Equal("two\nthree\n", string.Concat((await ReadAsync(log, new LogQuery(Tail: 2))).Select(r => r.Text)));
        Assert.Empty(await ReadAsync(log, new LogQuery(Tail: 0)));
        Assert.Equal(4, (await ReadAsync(log, new LogQuery(Tail: 100))).Count);
    }

    [Fact]
    public async Task Since_and_instance_select()
    {
        using var log = Open();
        Append(log, LogStream.Stdout, "old\n", 0, 10);
        Append(log, LogStream.Stdout, "new\n", 4, 20);
        log.Append(Second, LogStream.Stdout, Encoding.UTF8.GetBytes("second\n"), 0, 30);
        Assert.Equal(["new\n", "second\n"], (await ReadAsync(log, new LogQuery(SinceNanoseconds: 20))).Select(r => r.Text));
        Assert.Equal(["second\n"], (await ReadAsync(log, new LogQuery(Instance: Second))).Select(r => r.Text));
        Assert.Equal(7UL, log.OffsetsOf(Second).Stdout);
    }

    [Fact]
    public async Task A_follower_gets_what_comes_until_it_is_over()
    {
        using var log = Open();
        Append(log, LogStream.Stdout, "one\n", 0);
        var isOver = false;
        await using var records = log.ReadAsync(new LogQuery(Follow: true), () => Volatile.Read(ref isOver), CancellationToken.None).GetAsyncEnumerator();
        Assert.True(await records.MoveNextAsync());
        var next = records.MoveNextAsync();
        Assert.False(next.IsCompleted);
        Append(log, LogStream.Stdout, "two\n", 4);
        Assert.True(await next);
        Assert.Equal("two\n", Encoding.UTF8.GetString(records.Current.Data.Span));
        var last = records.MoveNextAsync();
        Volatile.Write(ref isOver, true);
        log.Poke();
        Assert.False(await last);
    }

    private MachineLog Open() => new(_directory, _options);

    private static void Append(MachineLog log, LogStream stream, string text, ulong begin, long at = 1) =>
        log.Append(First, stream, Encoding.UTF8.GetBytes(text), begin, at);

    private static async Task<List<(LogStream Stream, long Nanoseconds, string Text)>> ReadAsync(MachineLog log, LogQuery query)
    {
        var records = new List<(LogStream, long, string)>();
        await foreach (var record in log.ReadAsync(query, () => true, CancellationToken.None))
            records.Add((record.Stream, record.Nanoseconds, Encoding.UTF8.GetString(record.Data.Span)));
        return records;
    }
}
