namespace Ravel.Durable.Workflows;

/// <summary>
/// Work of several named steps that a crash between (or in) any two of them does not break: the position is committed after every
/// step, and a run continues from the position it is given. A step that fails, or cancellation, turns the run around: what was done is
/// undone in reverse order, beginning with the step that failed, because it may have been half done.
/// </summary>
/// <remarks>
/// Steps are repeated after a crash, so both directions of each must be idempotent, and undoing must cope with a step that was
/// never or only half done.
/// </remarks>
/// <typeparam name="TContext">What the steps know and find out; an immutable value that is committed with the position.</typeparam>
public sealed class Workflow<TContext>
{
    private readonly IReadOnlyList<WorkflowStep<TContext>> _steps;

    public Workflow(params IReadOnlyList<WorkflowStep<TContext>> steps)
    {
        ArgumentOutOfRangeException.ThrowIfZero(steps.Count);
        if (steps.DistinctBy(step => step.Name).Count() != steps.Count)
            throw new ArgumentException("Two steps have one name; positions could not be told apart.", nameof(steps));
        _steps = steps;
    }

    public IReadOnlyList<string> StepNames => [.. _steps.Select(step => step.Name)];

    /// <summary>Where a new run begins.</summary>
    public WorkflowPosition Beginning => new(WorkflowDirection.Do, _steps[0].Name);

    /// <summary>Where the undoing of a run that was done begins.</summary>
    public WorkflowPosition End => new(WorkflowDirection.Undo, _steps[^1].Name);

    /// <summary>Runs from <paramref name="position"/> until all is done or all is undone.</summary>
    /// <param name="position">The last committed position.</param>
    /// <param name="context">The context committed with it.</param>
    /// <param name="commit">
    /// Makes progress durable before the next step begins. When it throws the run stops there, as a crash would stop it.
    /// </param>
    /// <param name="cancellationToken">
    /// Turns a run that is doing around. Undoing is not cancelled: what was begun is cleaned up.
    /// </param>
    /// <param name="onUndoFault">
    /// Told of an undo that threw; returns when it shall be tried again, or throws to stop the run there.
    /// </param>
    public async Task<WorkflowOutcome<TContext>> RunAsync(
        WorkflowPosition position,
        TContext context,
        Func<WorkflowProgress<TContext>, Task> commit,
        Func<string, Exception, int, Task> onUndoFault,
        CancellationToken cancellationToken)
    {
        var index = IndexOf(position.Step);
        Exception? failure = null;
        if (position.Direction == WorkflowDirection.Do)
        {
            while (index < _steps.Count)
            {
                try
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    context = await _steps[index].DoAsync(context, cancellationToken);
                }
                catch (Exception e)
                {
                    failure = e;
                    break;
                }
                index++;
                var next = index < _steps.Count ? new WorkflowPosition(WorkflowDirection.Do, _steps[index].Name) : (WorkflowPosition?)null;
                await commit(new WorkflowProgress<TContext>(next, context, null));
            }
            if (failure is null)
                return new WorkflowOutcome<TContext>(true, context, null);
            await commit(new WorkflowProgress<TContext>(new WorkflowPosition(WorkflowDirection.Undo, _steps[index].Name), context, failure));
        }

        for (; index >= 0; index--)
        {
            await UndoAsync(_steps[index], context, onUndoFault);
            var next = index > 0 ? new WorkflowPosition(WorkflowDirection.Undo, _steps[index - 1].Name) : (WorkflowPosition?)null;
            await commit(new WorkflowProgress<TContext>(next, context, failure));
        }
        return new WorkflowOutcome<TContext>(false, context, failure);
    }

    private static async Task UndoAsync(WorkflowStep<TContext> step, TContext context, Func<string, Exception, int, Task> onUndoFault)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await step.UndoAsync(context);
                return;
            }
            catch (Exception e)
            {
                await onUndoFault(step.Name, e, attempt);
            }
        }
    }

    private int IndexOf(string name)
    {
        for (var i = 0; i < _steps.Count; i++)
        {
            if (_steps[i].Name == name)
                return i;
        }
        throw new ArgumentException($"The workflow has no step '{name}'.", nameof(name));
    }
}

/// <summary>One step.</summary>
/// <param name="Name">Stable: it is what is stored.</param>
/// <param name="DoAsync">Does it and returns the context with what it found out.</param>
/// <param name="UndoAsync">Takes back whatever <paramref name="DoAsync"/> may have done.</param>
public sealed record WorkflowStep<TContext>(
    string Name,
    Func<TContext, CancellationToken, Task<TContext>> DoAsync,
    Func<TContext, Task> UndoAsync);

public enum WorkflowDirection
{
    Do,
    Undo,
}

/// <summary>The step to be done or undone next.</summary>
public readonly record struct WorkflowPosition(WorkflowDirection Direction, string Step);

/// <param name="Next">Null when nothing is left to do or undo.</param>
/// <param name="Context">What is known by now.</param>
/// <param name="Failure">Why the run turned around, in the run where it did.</param>
public sealed record WorkflowProgress<TContext>(WorkflowPosition? Next, TContext Context, Exception? Failure);

/// <param name="IsDone">All steps are done; otherwise all are undone.</param>
/// <param name="Context">What is known at the end.</param>
/// <param name="Failure">Why it was undone, if this run turned around.</param>
public sealed record WorkflowOutcome<TContext>(bool IsDone, TContext Context, Exception? Failure);
