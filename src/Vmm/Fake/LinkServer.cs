using Ravel.Link;

namespace Ravel.Vmm.Fake;

/// <summary>
/// Drives the guest's end of the link over byte channels in this process, as ravel-init's poll loop does in a machine: whatever
/// touches the link runs under one lock, and what it has to say goes out by itself. It outlives sessions.
/// </summary>
#pragma warning disable CA1001 // The semaphore's wait handle is never made: nothing to dispose of.
public sealed class LinkServer
#pragma warning restore CA1001
{
    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _session = new(1, 1);
    private TaskCompletionSource _changed = NewSignal();
    private TaskCompletionSource _running = NewSignal();

    public LinkServer(IGuestLinkEvents events)
    {
        Link = new GuestLink(events);
        _running.SetResult();
    }

    /// <summary>Only to be touched under the lock: in <see cref="Do{T}"/>, or when the link calls.</summary>
    public GuestLink Link { get; }

    /// <summary>Does something with the link.</summary>
    public T Do<T>(Func<T> action)
    {
        T result;
        lock (_gate)
            result = action();
        Wake();
        return result;
    }

    /// <inheritdoc cref="Do{T}"/>
    public void Do(Action action) => Do(() =>
    {
        action();
        return true;
    });

    /// <summary>Tries again whenever something has changed, until there is a result.</summary>
    public async Task<T> UntilAsync<T>(Func<T?> attempt, CancellationToken cancellationToken)
        where T : class
    {
        while (true)
        {
            Task changed;
            T? result;
            lock (_gate)
            {
                changed = _changed.Task;
                result = attempt();
            }
            if (result is not null)
            {
                Wake();
                return result;
            }
            await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Writes all of <paramref name="data"/>, waiting for room as a process on a full pipe does.</summary>
    public async Task WriteAsync(GuestOutput output, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        while (data.Length > 0)
        {
            Task changed;
            int length;
            lock (_gate)
            {
                changed = _changed.Task;
                length = Math.Min(output.Room, data.Length);
                output.Write(data.Span[..length]);
            }
            data = data[length..];
            if (length > 0)
                Wake();
            else
                await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Speaks the link over <paramref name="channel"/> until either side closes it, or (unless <paramref name="isLossy"/>) the host breaks
    /// the protocol. One channel at a time: the next waits for the end of the last. Closes the channel.
    /// </summary>
    public async Task ServeAsync(Stream channel, bool isLossy, CancellationToken cancellationToken)
    {
        await _session.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await SpeakAsync(channel, isLossy, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _session.Release();
        }
    }

    /// <summary>Stops taking and sending bytes, as stopped virtual CPUs do.</summary>
    public void Pause()
    {
        if (_running.Task.IsCompleted)
            _running = NewSignal();
    }

    public void Resume() => _running.TrySetResult();

    private async Task SpeakAsync(Stream channel, bool isLossy, CancellationToken cancellationToken)
    {
        using var session = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var writing = SendAsync(channel, session.Token);
        try
        {
            var buffer = new byte[GuestLink.MaxReceive];
            int count;
            while ((count = await channel.ReadAsync(buffer, session.Token).ConfigureAwait(false)) > 0)
            {
                await _running.Task.WaitAsync(session.Token).ConfigureAwait(false);
                if (!Do(() => Link.Receive(buffer.AsSpan(0, count))) && !isLossy)
                    break;
            }
        }
        catch (Exception e) when (IsEnd(e))
        {
            // The host went away or the VMM ended; the guest waits for the next.
        }
        finally
        {
            await session.CancelAsync().ConfigureAwait(false);
            await writing.ConfigureAwait(false);
            Do(Link.Disconnected);
            await channel.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async Task SendAsync(Stream channel, CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await _running.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
                byte[] bytes;
                Task changed;
                lock (_gate)
                {
                    changed = _changed.Task;
                    bytes = Link.Output.ToArray();
                    Link.Written(bytes.Length);
                }
                if (bytes.Length == 0)
                {
                    await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
                    continue;
                }
                await channel.WriteAsync(bytes, cancellationToken).ConfigureAwait(false);
                // There is room now.
                Wake();
            }
        }
        catch (Exception e) when (IsEnd(e))
        {
            // The reading side sees the same end and acts on it.
        }
    }

    private void Wake()
    {
        TaskCompletionSource changed;
        lock (_gate)
            (changed, _changed) = (_changed, NewSignal());
        changed.TrySetResult();
    }

    private static bool IsEnd(Exception e) => e is IOException or OperationCanceledException or ObjectDisposedException or InvalidOperationException;

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
