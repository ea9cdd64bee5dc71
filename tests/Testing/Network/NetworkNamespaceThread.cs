using System.Collections.Concurrent;
using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Ravel.Testing.Network;

/// <summary>
/// A Linux network namespace of its own, entered by one thread on which everything given to it runs, continuations too.
/// Programs started and sockets opened there live in it. It has no name and no mount: it ends with the process,
/// however that ends.
/// </summary>
public sealed partial class NetworkNamespaceThread : IDisposable
{
    private const int NewNetworkNamespace = 0x40000000; // CLONE_NEWNET, unshare(2)

    private readonly BlockingCollection<(SendOrPostCallback Callback, object? State)> _work = [];
    private readonly Thread _thread;
    private readonly TaskCompletionSource<int> _started = new();

    public NetworkNamespaceThread(string name)
    {
        _thread = new Thread(Run) { Name = name, IsBackground = true };
        _thread.Start();
        ThreadId = _started.Task.GetAwaiter().GetResult();
    }

    /// <summary>For <c>ip link set … netns ID</c>.</summary>
    public int ThreadId { get; }

    public Task RunAsync(Func<Task> action) => RunAsync(async () =>
    {
        await action();
        return 0;
    });

    public Task<T> RunAsync<T>(Func<Task<T>> action)
    {
        var result = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        _work.Add((
            async _ =>
            {
                try
                {
                    result.SetResult(await action());
                }
                catch (Exception e)
                {
                    result.SetException(e);
                }
            },
            null));
        return result.Task;
    }

    public Task<T> RunAsync<T>(Func<T> action) => RunAsync(() => Task.FromResult(action()));

    public Task RunAsync(Action action) => RunAsync(() =>
    {
        action();
        return Task.CompletedTask;
    });

    public void Dispose()
    {
        _work.CompleteAdding();
        if (Thread.CurrentThread != _thread)
            _thread.Join();
    }

    private void Run()
    {
        if (Unshare(NewNetworkNamespace) != 0)
        {
            _started.SetException(new Win32Exception(Marshal.GetLastPInvokeError()));
            return;
        }
        SynchronizationContext.SetSynchronizationContext(new Context(_work));
        _started.SetResult(GetThreadId());
        foreach (var (callback, state) in _work.GetConsumingEnumerable())
            callback(state);
    }

    [LibraryImport("libc", EntryPoint = "unshare", SetLastError = true)]
    private static partial int Unshare(int flags);

    [LibraryImport("libc", EntryPoint = "gettid")]
    private static partial int GetThreadId();

    private sealed class Context(BlockingCollection<(SendOrPostCallback, object?)> work) : SynchronizationContext
    {
        public override void Post(SendOrPostCallback d, object? state)
        {
            try
            {
                work.Add((d, state));
            }
            catch (InvalidOperationException)
            {
                // A continuation of something abandoned, after the end.
            }
        }

        public override SynchronizationContext CreateCopy() => this;
    }
}
