using System.Buffers;
using Ravel.Contracts.Ids;
using Ravel.Link;

namespace Ravel.Agent.Logs;

/// <summary>
/// Carries one output stream of a guest into its machine's log. A line is one record; one that does not end is written as far
/// as it goes when nothing more has come for a while (a prompt), or when it is over-long. Only what is in the log is given back
/// to the guest, so that a crash neither loses nor doubles a byte, and a full disk slows the workload down.
/// </summary>
internal sealed class OutputPump
{
    /// <summary>Whoever writes lines writes them whole, or soon.</summary>
    public static readonly TimeSpan LinePatience = TimeSpan.FromMilliseconds(50);

    /// <summary>At a terminal somebody waits for what he typed.</summary>
    public static readonly TimeSpan TerminalPatience = TimeSpan.FromMilliseconds(3);

    private const int BufferBytes = 32 * 1024;

    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);

    private readonly MachineLog _log;
    private readonly InstanceId _instance;
    private readonly LogStream _stream;
    private readonly TimeProvider _time;
    private readonly TimeSpan _patience;
    private byte[] _buffer = [];
    private int _filled;

    // Offset of the buffer's first unwritten byte in the guest's stream.
    private ulong _begin;

    /// <param name="log">Where to.</param>
    /// <param name="instance">Whose output.</param>
    /// <param name="stream">Which.</param>
    /// <param name="time">The clock.</param>
    /// <param name="patience">How long the rest of a line is waited for.</param>
    public OutputPump(MachineLog log, InstanceId instance, LogStream stream, TimeProvider time, TimeSpan patience)
    {
        _patience = patience;
        _log = log;
        _instance = instance;
        _stream = stream;
        _time = time;
    }

    /// <summary>Returns at the stream's end; throws what <see cref="ILinkReader.ReadAsync"/> throws.</summary>
    public async Task RunAsync(ILinkReader reader, CancellationToken cancellationToken)
    {
        _begin = reader.Offset;
        _filled = 0;
        while (true)
        {
            if (_filled == 0)
            {
                // Most machines are silent most of the time: their buffers serve others. (One that a read may still be filling is not given back.)
                GiveBack();
                await reader.ReadAsync(Memory<byte>.Empty, cancellationToken);
                _buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
            }
            var next = reader.ReadAsync(_buffer.AsMemory(_filled), cancellationToken).AsTask();
            var kept = _filled;
            if (kept > 0 && !await EndsSoonAsync(next, cancellationToken))
            {
                // The read under way fills the buffer behind what is written here: nothing moves until it has ended.
                await LogAsync(kept, reader, cancellationToken);
                var late = await next;
                if (late == 0)
                {
                    GiveBack();
                    return;
                }
                _buffer.AsSpan(kept, late).CopyTo(_buffer);
                _filled = late;
            }
            else
            {
                var read = await next;
                if (read == 0)
                {
                    await LogAsync(kept, reader, cancellationToken);
                    GiveBack();
                    return;
                }
                _filled += read;
            }

            var lines = _buffer.AsSpan(0, _filled).LastIndexOf((byte)'\n') + 1;
            // What is left of a line has to leave room for more.
            if (_filled - lines >= LogRecord.MaxData)
                lines = _filled;
            await LogAsync(lines, reader, cancellationToken);
            _buffer.AsSpan(lines, _filled - lines).CopyTo(_buffer);
            _filled -= lines;
        }
    }

    private void GiveBack()
    {
        if (_buffer.Length > 0)
            ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
    }

    private async Task<bool> EndsSoonAsync(Task<int> next, CancellationToken cancellationToken)
    {
        if (next.IsCompleted)
            return true;
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await Task.WhenAny(next, Task.Delay(_patience, _time, patience.Token));
        await patience.CancelAsync();
        return next.IsCompleted;
    }

    /// <summary>Writes the first bytes of the buffer, for as long as it takes.</summary>
    private async Task LogAsync(int length, ILinkReader reader, CancellationToken cancellationToken)
    {
        if (length == 0)
            return;
        var end = _begin + (ulong)length;
        while (_begin < end)
        {
            try
            {
                var left = (int)(end - _begin);
                _log.Append(_instance, _stream, _buffer.AsMemory(length - left, left), _begin, UnixTime.Nanoseconds(_time));
                _begin = end;
            }
            catch (IOException)
            {
                var offsets = _log.OffsetsOf(_instance);
                _begin = Math.Max(_begin, _stream == LogStream.Stdout ? offsets.Stdout : offsets.Stderr);
                await Task.Delay(RetryInterval, _time, cancellationToken);
            }
        }
        reader.Consume(end);
    }
}

internal static class UnixTime
{
    public static long Nanoseconds(TimeProvider time) => (time.GetUtcNow().UtcTicks - DateTimeOffset.UnixEpoch.UtcTicks) * 100;
}
