using System.Threading.Channels;
using Microsoft.Extensions.Time.Testing;
using Ravel.Durable;
using Ravel.Durable.Reconcilers;

namespace Ravel.Unit.Durable;

public sealed class ReconcilerLoopTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly Channel<int> _passes = Channel.CreateUnbounded<int>();
    private readonly Channel<Exception> _faults = Channel.CreateUnbounded<Exception>();
    private Func<int, Task> _pass = _ => Task.CompletedTask;
    private int _count;

    [Fact]
    public async Task It_passes_at_once_then_at_a_signal_and_then_when_the_interval_has_passed()
    {
        await RunAsync(async loop =>
        {
            Assert.Equal(1, await NextPassAsync());
            loop.Signal();
            Assert.Equal(2, await NextPassAsync());
            await UntilPassAsync(3, TimeSpan.FromSeconds(30));
        });
    }

    [Fact]
    public async Task A_signal_during_a_pass_leads_to_another_pass()
    {
        var gate = new TaskCompletionSource();
        _pass = n => n == 1 ? gate.Task : Task.CompletedTask;
        await RunAsync(async loop =>
        {
            Assert.Equal(1, await NextPassAsync());
            loop.Signal();
            loop.Signal();
            gate.SetResult();
            Assert.Equal(2, await NextPassAsync());
        });
    }

    [Fact]
    public async Task A_pass_that_throws_is_reported_and_tried_again_after_a_growing_back_off()
    {
        _pass = n => n <= 2 ? throw new InvalidDataException($"pass {n}") : Task.CompletedTask;
        await RunAsync(async loop =>
        {
            Assert.Equal(1, await NextPassAsync());
            Assert.Equal("pass 1", (await _faults.Reader.ReadAsync()).Message);
            loop.Signal();
            Assert.False(_passes.Reader.TryRead(out _));
            await UntilPassAsync(2, TimeSpan.FromSeconds(1));
            Assert.Equal("pass 2", (await _faults.Reader.ReadAsync()).Message);
            await UntilPassAsync(3, TimeSpan.FromSeconds(2));
        });
    }

    /// <summary>Advances in steps until the pass comes, because the loop may not have begun to wait when time first moves.</summary>
    private async Task UntilPassAsync(int expected, TimeSpan step)
    {
        var next = NextPassAsync();
        while (!next.IsCompleted)
        {
            _time.Advance(step);
            await Task.Yield();
        }
        Assert.Equal(expected, await next);
    }

    private Task<int> NextPassAsync() => _passes.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));

    private async Task RunAsync(Func<ReconcilerLoop, Task> test)
    {
        using var loop = new ReconcilerLoop(
            async _ =>
            {
                var n = Interlocked.Increment(ref _count);
                _passes.Writer.TryWrite(n);
                await _pass(n);
            },
            TimeSpan.FromSeconds(30),
            new BackoffPolicy(TimeSpan.FromSeconds(1), 2, TimeSpan.FromMinutes(1)),
            _time,
            e => _faults.Writer.TryWrite(e));
        using var stopping = new CancellationTokenSource();
        var run = loop.RunAsync(stopping.Token);
        await test(loop);
        await stopping.CancelAsync();
        await run;
    }
}
