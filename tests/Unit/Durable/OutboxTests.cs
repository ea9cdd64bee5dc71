using Ravel.Durable.Outboxes;

namespace Ravel.Unit.Durable;

public sealed class OutboxTests : IDisposable
{
    private readonly ListStore _store = new();
    private readonly CancellationTokenSource _stopping = new(TimeSpan.FromSeconds(30));

    public void Dispose() => _stopping.Dispose();

    [Fact]
    public async Task Watching_forgets_the_acknowledged_and_returns_the_later_in_order()
    {
        _store.Append("a", "b", "c");
        await using var events = Outbox().WatchAsync(1, _stopping.Token).GetAsyncEnumerator();
        Assert.Equal("2 b", await NextAsync(events));
        Assert.Equal("3 c", await NextAsync(events));
        Assert.Equal(["b", "c"], _store.Entries.Select(entry => entry.Event));
    }

    [Fact]
    public async Task An_event_committed_while_a_reader_waits_reaches_it()
    {
        var outbox = Outbox();
        await using var events = outbox.WatchAsync(0, _stopping.Token).GetAsyncEnumerator();
        var next = NextAsync(events);
        _store.Append("a");
        outbox.Appended();
        Assert.Equal("1 a", await next);
    }

    [Fact]
    public async Task More_events_than_one_batch_all_arrive()
    {
        _store.Append([.. Enumerable.Range(1, 1000).Select(i => $"{i}")]);
        await using var events = Outbox().WatchAsync(0, _stopping.Token).GetAsyncEnumerator();
        for (var i = 1; i <= 1000; i++)
            Assert.Equal($"{i} {i}", await NextAsync(events));
    }

    [Fact]
    public async Task Every_reader_gets_every_event()
    {
        var outbox = Outbox();
        await using var first = outbox.WatchAsync(0, _stopping.Token).GetAsyncEnumerator();
        await using var second = outbox.WatchAsync(0, _stopping.Token).GetAsyncEnumerator();
        var nexts = new[] { NextAsync(first), NextAsync(second) };
        _store.Append("a");
        outbox.Appended();
        Assert.Equal(["1 a", "1 a"], await Task.WhenAll(nexts));
    }

    private static async Task<string> NextAsync(IAsyncEnumerator<OutboxEntry<string>> events)
    {
        Assert.True(await events.MoveNextAsync());
        return $"{events.Current.Sequence} {events.Current.Event}";
    }

    private Outbox<string> Outbox() => new(_store);

    private sealed class ListStore : IOutboxStore<string>
    {
        private readonly Lock _lock = new();
        private ulong _last;

        public List<OutboxEntry<string>> Entries { get; } = [];

        public void Append(params string[] events)
        {
            lock (_lock)
                Entries.AddRange(events.Select(e => new OutboxEntry<string>(++_last, e)));
        }

        public Task<IReadOnlyList<OutboxEntry<string>>> ReadAfterAsync(ulong sequence, int limit, CancellationToken cancellationToken)
        {
            lock (_lock)
                return Task.FromResult<IReadOnlyList<OutboxEntry<string>>>([.. Entries.Where(e => e.Sequence > sequence).Take(limit)]);
        }

        public Task ForgetAsync(ulong sequence, CancellationToken cancellationToken)
        {
            lock (_lock)
                Entries.RemoveAll(e => e.Sequence <= sequence);
            return Task.CompletedTask;
        }
    }
}
