using System.Collections.Concurrent;
using Ravel.Durable.Mailboxes;

namespace Ravel.Unit.Durable;

public sealed class KeyedMailboxesTests
{
    private readonly ConcurrentQueue<string> _seen = new();
    private readonly ConcurrentQueue<Exception> _faults = new();

    [Fact]
    public async Task Work_of_one_key_never_overlaps_and_keeps_its_order()
    {
        await using var mailboxes = Mailboxes();
        var running = 0;
        var order = new List<int>();
        var all = Enumerable.Range(0, 200).Select(i => mailboxes.RunAsync("a", async _ =>
        {
            Assert.Equal(1, Interlocked.Increment(ref running));
            await Task.Yield();
            order.Add(i);
            Interlocked.Decrement(ref running);
        })).ToList();
        await Task.WhenAll(all);
        Assert.Equal(Enumerable.Range(0, 200), order);
    }

    [Fact]
    public async Task A_blocked_key_does_not_hold_up_another()
    {
        await using var mailboxes = Mailboxes();
        var gate = new TaskCompletionSource();
        var blocked = mailboxes.RunAsync("a", _ => gate.Task);
        Assert.Equal(7, await mailboxes.RunAsync("b", _ => Task.FromResult(7)));
        gate.SetResult();
        await blocked;
    }

    [Fact]
    public async Task An_exception_reaches_the_sender_and_the_mailbox_goes_on()
    {
        await using var mailboxes = Mailboxes();
        await Assert.ThrowsAsync<InvalidDataException>(() => mailboxes.RunAsync("a", _ => throw new InvalidDataException()));
        Assert.Equal(1, await mailboxes.RunAsync("a", _ => Task.FromResult(1)));
        Assert.Empty(_faults);
    }

    [Fact]
    public async Task A_full_mailbox_refuses_more_but_takes_what_must_not_be_lost()
    {
        await using var mailboxes = Mailboxes(capacity: 2);
        var gate = new TaskCompletionSource();
        var begun = new TaskCompletionSource();
        var tasks = new List<Task>
        {
            mailboxes.RunAsync("a", async _ =>
            {
                begun.SetResult();
                await gate.Task;
            }),
        };
        await begun.Task;
        tasks.Add(mailboxes.RunAsync("a", _ => Task.CompletedTask));
        tasks.Add(mailboxes.RunAsync("a", _ => Task.CompletedTask));

        await Assert.ThrowsAsync<MailboxFullException>(() => mailboxes.RunAsync("a", _ => Task.CompletedTask));
        tasks.Add(mailboxes.RunAsync("a", _ => Task.CompletedTask, evenWhenFull: true));
        gate.SetResult();
        await Task.WhenAll(tasks);
    }

    [Fact]
    public async Task Signals_that_wait_are_one_and_a_signal_during_the_look_leads_to_another()
    {
        var gate = new TaskCompletionSource();
        var begun = new TaskCompletionSource();
        var looks = 0;
        await using var mailboxes = new KeyedMailboxes<string>(8, (_, _) => Task.FromResult(looks++), (_, e) => _faults.Enqueue(e));
        var blocked = mailboxes.RunAsync("a", async _ =>
        {
            begun.SetResult();
            await gate.Task;
        });
        await begun.Task;
        mailboxes.Signal("a");
        mailboxes.Signal("a");
        gate.SetResult();
        await blocked;
        await mailboxes.RunAsync("a", _ => Task.CompletedTask);
        Assert.Equal(1, looks);

        mailboxes.Signal("a");
        await mailboxes.RunAsync("a", _ => Task.CompletedTask);
        Assert.Equal(2, looks);
    }

    [Fact]
    public async Task A_signal_whose_look_throws_is_reported_and_the_mailbox_goes_on()
    {
        await using var mailboxes = new KeyedMailboxes<string>(
            8,
            (_, _) => throw new InvalidDataException(),
            (key, e) => _seen.Enqueue($"{key} {e.GetType().Name}"));
        mailboxes.Signal("a");
        await mailboxes.RunAsync("a", _ => Task.CompletedTask);
        Assert.Equal(["a InvalidDataException"], _seen);
    }

    [Fact]
    public async Task Disposing_cancels_what_runs_and_what_waits_and_refuses_the_rest()
    {
        var mailboxes = Mailboxes();
        var begun = new TaskCompletionSource();
        var running = mailboxes.RunAsync("a", async stopping =>
        {
            begun.SetResult();
            await Task.Delay(Timeout.Infinite, stopping);
        });
        var waiting = mailboxes.RunAsync("a", _ => Task.CompletedTask);
        await begun.Task;
        await mailboxes.DisposeAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => mailboxes.RunAsync("a", _ => Task.CompletedTask));
        mailboxes.Signal("a");
    }

    private KeyedMailboxes<string> Mailboxes(int capacity = 1000) =>
        new(capacity, (_, _) => Task.CompletedTask, (_, e) => _faults.Enqueue(e));
}
