using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Storage;

/// <summary>
/// Requests of one kind that arrive while others are being served wait and are served together: one transaction, or one query, for all
/// of them. Nothing is waited for when nothing is under way, so it costs no time when there is little to do.
/// </summary>
/// <param name="serve">Answers all of them, in their order; when it fails, each is served alone.</param>
/// <param name="alone">Answers one; its failure is that one's only.</param>
/// <param name="most">Served together at most.</param>
/// <param name="atOnce">How many groups may be under way.</param>
internal sealed class Together<TRequest, TAnswer>(
    Func<IReadOnlyList<TRequest>, Task<IReadOnlyList<TAnswer>>> serve, Func<TRequest, Task<TAnswer>> alone, int most, int atOnce)
{
    private readonly Queue<Waiting> _waiting = new();
    private readonly Lock _lock = new();
    private int _active;

    public Task<TAnswer> AskAsync(TRequest request)
    {
        var waiting = new Waiting(request);
        lock (_lock)
        {
            _waiting.Enqueue(waiting);
            if (_active == atOnce)
                return waiting.Answer.Task;
            _active++;
        }
        _ = Task.Run(RunAsync);
        return waiting.Answer.Task;
    }

    private async Task RunAsync()
    {
        var group = new List<Waiting>();
        while (true)
        {
            group.Clear();
            lock (_lock)
            {
                while (group.Count < most && _waiting.TryDequeue(out var next))
                    group.Add(next);
                if (group.Count == 0)
                {
                    _active--;
                    return;
                }
            }
            if (group.Count == 1 || !await TryServeAsync(group))
            {
                foreach (var waiting in group)
                    await ServeAloneAsync(waiting);
            }
        }
    }

    private async Task<bool> TryServeAsync(List<Waiting> group)
    {
        try
        {
            var answers = await serve([.. group.Select(waiting => waiting.Request)]);
            for (var i = 0; i < group.Count; i++)
                group[i].Answer.SetResult(answers[i]);
            return true;
        }
        catch (ProblemException e) when (e.Code == ProblemCodes.DatabaseUnavailable)
        {
            // Nobody's fault, and perhaps it was done: a second try could do it twice, and all of them would only wait longer.
            foreach (var waiting in group)
                waiting.Answer.SetException(e);
            return true;
        }
        catch (Exception)
        {
            // One of them is at fault: each finds out for itself.
            return false;
        }
    }

    private async Task ServeAloneAsync(Waiting waiting)
    {
        try
        {
            waiting.Answer.SetResult(await alone(waiting.Request));
        }
        catch (Exception e)
        {
            waiting.Answer.SetException(e);
        }
    }

    private sealed class Waiting(TRequest request)
    {
        public TRequest Request { get; } = request;

        public TaskCompletionSource<TAnswer> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
