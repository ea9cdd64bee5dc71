using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Ravel.Vmm.Fake;

/// <summary>One fake VMM "process". Lives in its driver until it has ended and somebody saw it, or it is purged.</summary>
[SuppressMessage("Design", "CA1001", Justification = "Neither a semaphore nor a cancellation source without timer and wait handle holds a resource.")]
public sealed class FakeVm : IFakeMachine
{
    private const int ConsoleCapacity = 64 * 1024;

    /// <summary>Small, like a socket's buffers: whoever does not read stops the other.</summary>
    private const int ChannelBytes = 16 * 1024;

    private readonly Lock _gate = new();
    private readonly StringBuilder _console = new("fake: booting\n");
    private readonly TaskCompletionSource<VmmExit> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _limited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _ended = new();
    private readonly SemaphoreSlim _channel = new(1);
    private readonly long _startedAt;
    private CancellationTokenSource? _session;

    internal FakeVm(VmSpec spec, VmmRecord record, FakeVmmFaults faults, TimeProvider time)
    {
        Spec = spec;
        Record = record;
        Faults = faults;
        Time = time;
        Guest = new Lazy<FakeGuest>(() => new FakeGuest(this));
        _startedAt = time.GetTimestamp();
        Limits = spec.Limits;
    }

    public VmSpec Spec { get; }

    public VmmRecord Record { get; }

    public TimeProvider Time { get; }

    public bool IsPaused { get; private set; }

    /// <summary>As they are now.</summary>
    public VmLimits Limits { get; private set; }

    /// <summary>Completes when they were changed for the first time.</summary>
    public Task Limited => _limited.Task;

    internal FakeVmmFaults Faults { get; }

    /// <summary>Made when somebody connects: a guest's buffers are the dear part of a fake.</summary>
    internal Lazy<FakeGuest> Guest { get; private set; }

    internal Task<VmmExit> Exited => _exited.Task;

    /// <summary>Ends the VMM from outside, as a crash would.</summary>
    public void Die() => End(new VmmExit(VmmExitKind.Lost, "the fake VMM was told to die"));

    /// <summary>Breaks the link session there is; the guest runs on.</summary>
    public void DropLink()
    {
        lock (_gate)
            _session?.Cancel();
    }

    public void End(VmmExit exit)
    {
        if (_exited.TrySetResult(exit))
            _ended.Cancel();
    }

    public void WriteConsole(string text)
    {
        lock (_gate)
        {
            _console.Append(text);
            if (_console.Length > ConsoleCapacity)
                _console.Remove(0, _console.Length - ConsoleCapacity);
        }
    }

    public string ReadDrive(int index)
    {
        using var reader = new StreamReader(Spec.Drives[index].Path, Encoding.Latin1);
        return reader.ReadLine() ?? "";
    }

    internal string ReadConsole()
    {
        lock (_gate)
            return _console.ToString();
    }

    internal void Limit(VmLimits limits)
    {
        Limits = limits;
        _limited.TrySetResult();
    }

    internal VmmMetrics Measure() => new(Time.GetElapsedTime(_startedAt), (long)Spec.MemoryMib << 20) { Disk = new DiskUsage(4096, 512, 8, 1) };

    /// <summary>Takes over a guest that was saved; before anybody connects.</summary>
    internal void Adopt(FakeGuest guest)
    {
        guest.MoveTo(this);
        Guest = new Lazy<FakeGuest>(guest);
    }

    internal void Pause()
    {
        IsPaused = true;
        Guest.Value.Pause();
    }

    internal void Resume()
    {
        IsPaused = false;
        Guest.Value.Resume();
    }

    internal async Task<Stream> ConnectAsync(CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _ended.Token);
        try
        {
            await _channel.WaitAsync(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new VmmException($"fake VMM {Record.Id} has ended: {(await Exited.ConfigureAwait(false)).Detail}");
        }
        var (host, guest) = DuplexPipe.Create(ChannelBytes);
        _ = ServeAsync(guest);
        return host;
    }

    private async Task ServeAsync(Stream channel)
    {
        CancellationTokenSource session;
        lock (_gate)
            session = _session = CancellationTokenSource.CreateLinkedTokenSource(_ended.Token);
        try
        {
            if (Faults.LinkIsSilent)
                await DiscardAsync(channel, session.Token).ConfigureAwait(false);
            else if (Faults.LinkIsGarbage)
                await EchoAsync(channel, session.Token).ConfigureAwait(false);
            else
                await Guest.Value.ServeAsync(channel, session.Token).ConfigureAwait(false);
        }
        finally
        {
            lock (_gate)
                _session = null;
            session.Dispose();
            _channel.Release();
        }
    }

    /// <summary>The host's own bytes come back: its preamble, which opens the session, and then no guest's messages.</summary>
    private static async Task EchoAsync(Stream channel, CancellationToken cancellationToken)
    {
        await using (channel.ConfigureAwait(false))
        {
            try
            {
                await channel.CopyToAsync(channel, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException)
            {
                // The host has seen enough.
            }
        }
    }

    private static async Task DiscardAsync(Stream channel, CancellationToken cancellationToken)
    {
        await using (channel.ConfigureAwait(false))
        {
            try
            {
                var buffer = new byte[4096];
                while (await channel.ReadAsync(buffer, cancellationToken).ConfigureAwait(false) > 0)
                {
                }
            }
            catch (Exception e) when (e is IOException or OperationCanceledException)
            {
                // Its end is all that was waited for.
            }
        }
    }
}
