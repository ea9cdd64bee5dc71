using Microsoft.Win32.SafeHandles;
using Ravel.Linux.Files;

namespace Ravel.Images.Erofs;

/// <summary>
/// The end of a file under construction, held in memory and written in one piece when full, so that many small
/// files cost few system calls. What is already written can still be patched and zeroed.
/// </summary>
internal sealed class OutputWindow
{
    public const int Size = 1024 * 1024;

    private const long WritebackStep = 16 * 1024 * 1024;

    /// <summary>The shortest run of zeros left out of a write: a hole must be worth the system call it splits.</summary>
    private const int MinHole = 64 * 1024;

    private readonly SafeFileHandle _file;
    private readonly bool _earlyWriteback;
    private readonly byte[] _buffer = new byte[Size];
    private long _start;
    private int _length;
    private long _writtenBack;

    /// <param name="earlyWriteback">Has the disk work during the build, for a flush at its end that has little left to do.</param>
    public OutputWindow(SafeFileHandle file, bool earlyWriteback)
    {
        _file = file;
        _earlyWriteback = earlyWriteback;
    }

    /// <summary>Where the next byte goes.</summary>
    public long Position => _start + _length;

    /// <summary>Room before the window has to be written.</summary>
    public int Room => Size - _length;

    public void Write(ReadOnlySpan<byte> data)
    {
        while (data.Length > 0)
        {
            if (_length == Size)
                Flush();
            var step = Math.Min(data.Length, Size - _length);
            data[..step].CopyTo(_buffer.AsSpan(_length));
            _length += step;
            data = data[step..];
        }
    }

    /// <summary>Adds zeros; many of them become a hole in the file.</summary>
    public void WriteZeros(long count)
    {
        if (count > Size)
        {
            Flush();
            _start += count;
            return;
        }
        while (count > 0)
        {
            if (_length == Size)
                Flush();
            var step = (int)Math.Min(count, Size - _length);
            _buffer.AsSpan(_length, step).Clear();
            _length += step;
            count -= step;
        }
    }

    /// <summary>Changes bytes at an offset before <see cref="Position"/>, in memory or in the file.</summary>
    public void Patch(long offset, ReadOnlySpan<byte> data)
    {
        var before = (int)Math.Clamp(_start - offset, 0, data.Length);
        if (before > 0)
            RandomAccess.Write(_file, data[..before], offset);
        data[before..].CopyTo(_buffer.AsSpan((int)Math.Max(offset - _start, 0)));
    }

    /// <summary>Makes a range before <see cref="Position"/> read as zeros and gives its whole blocks back to the disk.</summary>
    public void Erase(long offset, long length)
    {
        var before = Math.Clamp(_start - offset, 0, length);
        if (before > 0 && !FileBlocks.TryPunchHole(_file, offset, before))
        {
            var zeros = new byte[Math.Min(before, Size)];
            for (long done = 0; done < before; done += zeros.Length)
                RandomAccess.Write(_file, zeros.AsSpan(0, (int)Math.Min(zeros.Length, before - done)), offset + done);
        }
        if (length > before)
            _buffer.AsSpan((int)(offset + before - _start), (int)(length - before)).Clear();
    }

    public void Flush()
    {
        if (_length == 0)
            return;
        WriteAroundZeros(_buffer.AsSpan(0, _length));
        _start += _length;
        _length = 0;
        if (_earlyWriteback && _start - _writtenBack >= WritebackStep)
        {
            FileBlocks.StartWriteback(_file, _writtenBack, _start - _writtenBack);
            _writtenBack = _start;
        }
    }

    /// <summary>
    /// Writes all but long runs of zeros: nothing was written there before, so the file has holes that read the same.
    /// Archives store a preallocated file, or one that lost its holes, as megabytes of zeros.
    /// </summary>
    private void WriteAroundZeros(ReadOnlySpan<byte> data)
    {
        var written = 0;
        var zerosFrom = 0;
        for (var at = 0; at < data.Length;)
        {
            // Up to the file's next block, so that holes are made of whole blocks.
            var step = Math.Min(ErofsFormat.BlockSize - (int)((_start + at) % ErofsFormat.BlockSize), data.Length - at);
            if (data.Slice(at, step).ContainsAnyExcept((byte)0))
            {
                if (at - zerosFrom >= MinHole)
                {
                    Put(data, written, zerosFrom);
                    written = at;
                }
                zerosFrom = at + step;
            }
            at += step;
        }
        Put(data, written, data.Length - zerosFrom >= MinHole ? zerosFrom : data.Length);
    }

    private void Put(ReadOnlySpan<byte> data, int from, int to)
    {
        if (to > from)
            RandomAccess.Write(_file, data[from..to], _start + from);
    }
}
