using Microsoft.Win32.SafeHandles;

namespace Ravel.Images.Erofs;

/// <summary>
/// Writes an EROFS image in one pass over content that comes in any order. Data and inodes go out as they come: file
/// blocks first, then the inode with the file's last partial block behind it, packed with its neighbours into metadata
/// blocks. Directories follow at the end, when their entries are known, and the superblock last, so that a half-written
/// file is never a file system. Memory: one window, whatever the image's size.
/// </summary>
/// <remarks>
/// Layout: block 0 holds the superblock and the root inode; then data and metadata blocks of files, interleaved; then all
/// directory inodes; then the blocks of large directories. The bytes depend on the calls only.
/// </remarks>
internal sealed partial class ErofsWriter
{
    /// <summary>As many as any Linux file system in use allows.</summary>
    public const uint MaxLinks = 65_000;

    private const int OpenBlocks = 8;

    private readonly SafeFileHandle _file;
    private readonly long _buildTime;
    private readonly byte[] _uuid;
    private readonly OutputWindow _window;
    private readonly byte[] _tail = new byte[ErofsFormat.BlockSize];
    private readonly byte[] _directoryBlock = new byte[ErofsFormat.BlockSize];
    private readonly byte[] _scratch = new byte[2 * ErofsFormat.BlockSize + 128 * 1024];
    private readonly HashSet<ErofsInode> _relinked = [];

    /// <summary>Metadata blocks inside the window that still have room: where, and how much of them is used.</summary>
    private readonly List<(long Offset, int Used)> _open = new(OpenBlocks);

    private uint _inodes;
    private uint _erasedInodes;

    // The file being written.
    private InodeAttributes _attributes;
    private ErofsInode.Shape _shape;
    private long _size;
    private long _dataStart;
    private long _dataLeft;
    private int _tailLength;

    /// <param name="file">Empty, open for writing.</param>
    /// <param name="buildTime">Seconds since 1970; inodes of just this time are half as large.</param>
    /// <param name="uuid">16 bytes that identify the file system.</param>
    public ErofsWriter(SafeFileHandle file, long buildTime, byte[] uuid, bool earlyWriteback = false)
    {
        _file = file;
        _buildTime = buildTime;
        _uuid = uuid;
        _window = new OutputWindow(file, earlyWriteback);
        _window.WriteZeros(ErofsFormat.BlockSize);
    }

    public long Position => _window.Position;

    /// <summary>Starts a regular file or a symbolic link; exactly <paramref name="size"/> bytes have to follow.</summary>
    public void BeginFile(in InodeAttributes attributes, long size)
    {
        _attributes = attributes;
        _size = size;
        _shape = ErofsInode.Shape.Of(attributes, size, _buildTime);
        _dataStart = _window.Position;
        _dataLeft = size - _shape.InlineLength;
        _tailLength = 0;
    }

    public void Append(ReadOnlySpan<byte> data)
    {
        var direct = (int)Math.Min(data.Length, _dataLeft);
        _window.Write(data[..direct]);
        _dataLeft -= direct;
        data = data[direct..];
        data.CopyTo(_tail.AsSpan(_tailLength));
        _tailLength += data.Length;
    }

    /// <summary>A hole of a sparse file.</summary>
    public void AppendZeros(long count)
    {
        var direct = Math.Min(count, _dataLeft);
        _window.WriteZeros(direct);
        _dataLeft -= direct;
        var tail = (int)(count - direct);
        _tail.AsSpan(_tailLength, tail).Clear();
        _tailLength += tail;
    }

    public ErofsInode EndFile()
    {
        if (_dataLeft != 0 || _tailLength != _shape.InlineLength)
            throw new InvalidOperationException("A file was ended before all of its bytes came.");
        PadBlock();
        var blocks = (_window.Position - _dataStart) >> ErofsFormat.BlockBits;
        var first = blocks > 0 ? (uint)(_dataStart >> ErofsFormat.BlockBits) : 0;
        return AddInode(_attributes, _shape, _size, first, _tail.AsSpan(0, _tailLength), (uint)blocks);
    }

    /// <summary>A device or FIFO.</summary>
    public ErofsInode AddSpecial(in InodeAttributes attributes) =>
        AddInode(attributes, ErofsInode.Shape.Of(attributes, 0, _buildTime), 0, attributes.Device, [], 0);

    /// <summary>Counts one name more.</summary>
    /// <returns>False at <see cref="MaxLinks"/>.</returns>
    public bool TryLink(ErofsInode inode)
    {
        if (inode.Links >= MaxLinks)
            return false;
        inode.Links++;
        _relinked.Add(inode);
        return true;
    }

    /// <summary>Counts one name less, and erases an inode without names with all of its data.</summary>
    public void Unlink(ErofsInode inode)
    {
        if (--inode.Links > 0)
        {
            _relinked.Add(inode);
            return;
        }
        _relinked.Remove(inode);
        _erasedInodes++;
        _window.Erase(inode.Offset, inode.Length);
        if (inode.Blocks > 0)
            _window.Erase((long)inode.FirstBlock << ErofsFormat.BlockBits, (long)inode.Blocks << ErofsFormat.BlockBits);
    }

    private ErofsInode AddInode(
        in InodeAttributes attributes, in ErofsInode.Shape shape, long size, uint dataStart, ReadOnlySpan<byte> tail, uint blocks)
    {
        var bytes = _scratch.AsSpan(0, shape.Length);
        bytes.Clear();
        ErofsInode.Write(bytes, attributes, shape, size, dataStart, links: 1, ++_inodes);
        tail.CopyTo(bytes[shape.HeadLength..]);
        var offset = AllocateMetadata(shape.Length);
        _window.Patch(offset, bytes);
        return new ErofsInode
        {
            Offset = offset,
            Length = shape.Length,
            FirstBlock = blocks > 0 ? dataStart : 0,
            Blocks = blocks,
            Type = attributes.Type,
            Extended = shape.Extended,
        };
    }

    /// <summary>
    /// Finds the open metadata block the item fits best, or opens a new one. Only blocks still in the window are
    /// open: with that, packing never reads or waits for what is written.
    /// </summary>
    private long AllocateMetadata(int length)
    {
        var windowStart = _window.Position - (OutputWindow.Size - _window.Room);
        _open.RemoveAll(block => block.Offset < windowStart);
        var best = -1;
        for (var i = 0; i < _open.Count; i++)
        {
            var room = ErofsFormat.BlockSize - _open[i].Used;
            if (room >= length && (best < 0 || room < ErofsFormat.BlockSize - _open[best].Used))
                best = i;
        }
        if (best >= 0)
        {
            var (at, used) = _open[best];
            Reopen(best, at, used + length);
            return at + used;
        }

        var offset = _window.Position;
        var blocks = ErofsFormat.BlocksOf(length);
        if (_window.Room < blocks << ErofsFormat.BlockBits)
            _window.Flush();
        _window.WriteZeros(blocks << ErofsFormat.BlockBits);
        if (blocks == 1)
        {
            if (_open.Count == OpenBlocks)
                _open.RemoveAt(FullestOpenBlock());
            _open.Add((offset, 0));
            Reopen(_open.Count - 1, offset, length);
        }
        return offset;
    }

    private void Reopen(int index, long offset, int used)
    {
        used = ErofsFormat.AlignSlot(used);
        if (used + ErofsFormat.CompactInodeSize > ErofsFormat.BlockSize)
            _open.RemoveAt(index);
        else
            _open[index] = (offset, used);
    }

    private int FullestOpenBlock()
    {
        var fullest = 0;
        for (var i = 1; i < _open.Count; i++)
        {
            if (_open[i].Used > _open[fullest].Used)
                fullest = i;
        }
        return fullest;
    }

    private void PadBlock()
    {
        var over = (int)(_window.Position % ErofsFormat.BlockSize);
        if (over > 0)
            _window.WriteZeros(ErofsFormat.BlockSize - over);
    }
}
