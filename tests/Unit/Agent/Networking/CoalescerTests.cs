using Ravel.Agent.Networking;

namespace Ravel.Unit.Agent.Networking;

public sealed class CoalescerTests
{
    [Fact]
    public async Task Those_who_ask_during_a_run_share_the_next()
    {
        var gates = new Queue<TaskCompletionSource>([new(), new(), new()]);
        var runs = 0;
        var coalescer = new Coalescer(() =>
        {
            runs++;
            return gates.Dequeue().Task;
        });
        var all = gates.ToArray();

        var first = coalescer.RunAsync();
        var late = Enumerable.Range(0, 100).Select(_ => coalescer.RunAsync()).ToList();
        Assert.Equal(1, runs);
        all[0].SetResult();
        await first;
        Assert.All(late, task => Assert.False(task.IsCompleted));

        all[1].SetResult();
        await Task.WhenAll(late);
        Assert.Equal(2, runs);
    }

    [Fact]
    public async Task Failure_reaches_those_of_that_run_only()
    {
        var results = new Queue<Task>([Task.FromException(new IOException("no")), Task.CompletedTask]);
        var coalescer = new Coalescer(() => results.Dequeue());
        await Assert.ThrowsAsync<IOException>(coalescer.RunAsync);
        await coalescer.RunAsync();
    }

    [Fact]
    public async Task Everybody_sees_their_own_change_done()
    {
        var wanted = 0;
        var done = 0;
        var coalescer = new Coalescer(async () =>
        {
            var seen = Volatile.Read(ref wanted);
            await Task.Yield();
            Volatile.Write(ref done, seen);
        });
        await Task.WhenAll(Enumerable.Range(0, 200).Select(_ => Task.Run(async () =>
        {
            var mine = Interlocked.Increment(ref wanted);
            await coalescer.RunAsync();
            Assert.True(Volatile.Read(ref done) >= mine);
        })));
    }
}
