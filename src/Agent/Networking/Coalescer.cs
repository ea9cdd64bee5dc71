namespace Ravel.Agent.Networking;

/// <summary>
/// Runs one action for many who ask at once: everybody who asks while it runs shares the next run, which begins after they
/// asked and so sees what they changed.
/// </summary>
internal sealed class Coalescer(Func<Task> action)
{
    private readonly Lock _lock = new();
    private TaskCompletionSource? _next;
    private bool _running;

    /// <summary>Completes, or fails, with the first run that began after this call.</summary>
    internal Task RunAsync()
    {
        TaskCompletionSource mine;
        lock (_lock)
        {
            mine = _next ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            if (_running)
                return mine.Task;
            _running = true;
        }
        _ = RunAllAsync();
        return mine.Task;
    }

    private async Task RunAllAsync()
    {
        while (true)
        {
            TaskCompletionSource current;
            lock (_lock)
            {
                if (_next is null)
                {
                    _running = false;
                    return;
                }
                current = _next;
                _next = null;
            }
            try
            {
                await action();
                current.SetResult();
            }
            catch (Exception e)
            {
                current.SetException(e);
            }
        }
    }
}
