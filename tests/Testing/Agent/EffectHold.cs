namespace Ravel.Testing.Agent;

/// <summary>Holds an effect of an agent where it begins, so that what comes meanwhile comes meanwhile.</summary>
/// <param name="effect">The method's name.</param>
public sealed class EffectHold(string effect)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string Effect => effect;

    /// <summary>Returns when the effect is held.</summary>
    /// <exception cref="TimeoutException">It did not come within 30 s.</exception>
    public Task ReachedAsync() => _reached.Task.WaitAsync(Patience);

    /// <summary>Lets the effect happen, and those after it.</summary>
    public void Release() => _released.TrySetResult();

    internal Task WaitAsync(CancellationToken cancellationToken)
    {
        _reached.TrySetResult();
        return _released.Task.WaitAsync(cancellationToken);
    }
}
