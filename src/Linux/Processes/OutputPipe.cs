using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Processes;

/// <summary>
/// Bounded standard output of a process that outlives its launcher: a named pipe the process itself holds open for reading and
/// writing, non-blocking. What nobody drains fills the kernel's 64 KiB and further writes fail with EAGAIN, so a
/// chatty process costs no disk and never blocks or gets SIGPIPE, whether a launcher is there or not (pipe(7), fifo(7)).
/// </summary>
public sealed unsafe class OutputPipe : IDisposable
{
    /// <summary>Bytes kept of what was drained: the newest.</summary>
    public const int Capacity = 64 * 1024;

    private readonly Lock _gate = new();
    private readonly SafeFileHandle _handle;
    private readonly IDisposable? _watch;
    private readonly byte[] _ring = new byte[Capacity];
    private readonly Action<ReadOnlySpan<byte>>? _taken;
    private long _written;

    private OutputPipe(SafeFileHandle handle, Action<ReadOnlySpan<byte>>? taken)
    {
        _handle = handle;
        _taken = taken;
        _watch = DescriptorWatch.Add(handle, () => Drain());
    }

    /// <summary>Makes the pipe, replacing what is at <paramref name="path"/>; give the path to <see cref="DetachedProcessSpec.Output"/>.</summary>
    /// <param name="path">Its name.</param>
    /// <param name="taken">Called with every byte drained, in order, on any thread; must not block or throw.</param>
    /// <exception cref="IOException">It could not be made.</exception>
    public static OutputPipe Create(string path, Action<ReadOnlySpan<byte>>? taken = null)
    {
        File.Delete(path);
        if (ProcessCalls.mkfifo(path, 0x180) != 0)
            throw new IOException($"{path}: the pipe could not be made: {Marshal.GetLastPInvokeErrorMessage()}");
        return Open(path, taken) ?? throw new IOException($"{path}: the pipe was removed while it was opened");
    }

    /// <summary>Opens the pipe of a process launched earlier; null when it is gone.</summary>
    public static OutputPipe? Open(string path, Action<ReadOnlySpan<byte>>? taken = null)
    {
        // Also open for writing, so that the end of the process is no end of file that would wake the watch for ever.
        var handle = ProcessCalls.open(path, ProcessCalls.ORdwr | ProcessCalls.ONonblock | ProcessCalls.OCloexec, 0);
        if (handle.IsInvalid)
        {
            handle.Dispose();
            return null;
        }
        return new OutputPipe(handle, taken);
    }

    /// <summary>The newest bytes read so far, at most <see cref="Capacity"/>. Also works after disposal.</summary>
    public byte[] ReadTail()
    {
        lock (_gate)
        {
            DrainLocked();
            var length = (int)Math.Min(_written, Capacity);
            var tail = new byte[length];
            for (var i = 0; i < length; i++)
                tail[i] = _ring[(_written - length + i) % Capacity];
            return tail;
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            DrainLocked();
            _watch?.Dispose();
            _handle.Dispose();
        }
    }

    private void Drain()
    {
        lock (_gate)
            DrainLocked();
    }

    private void DrainLocked()
    {
        if (_handle.IsClosed)
            return;
        const int Size = 4096;
        var buffer = stackalloc byte[Size];
        // At most what the pipe holds: a writer that never pauses must not keep the loop here.
        for (var taken = 0; taken < Capacity;)
        {
            var count = (int)ProcessCalls.read(_handle, buffer, Size);
            if (count <= 0)
                return;
            taken += count;
            _taken?.Invoke(new ReadOnlySpan<byte>(buffer, count));
            for (var i = 0; i < count; i++)
                _ring[_written++ % Capacity] = buffer[i];
        }
    }
}
