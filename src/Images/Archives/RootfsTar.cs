using Ravel.Images.Erofs;
using Ravel.Images.Tar;

namespace Ravel.Images.Archives;

/// <summary>
/// A root file system as one layer: depth first, names in the order of their bytes, the first name of an inode as the file and
/// the others as hard links to it. The same root file system gives the same bytes. Memory: the names of one directory for each
/// level, of files with several, and eight bytes and a little for each directory.
/// </summary>
internal sealed class RootfsTar
{
    private const int BufferSize = 256 * 1024;

    private readonly ErofsImage _image;
    private readonly Stream _output;
    private readonly TarWriter _tar;
    private readonly Dictionary<ulong, byte[]> _linked = [];

    /// <summary>Directories seen: one has one name, but a damaged file may lead in circles.</summary>
    private readonly HashSet<ulong> _directories = [];
    private readonly byte[] _buffer = new byte[BufferSize];

    private RootfsTar(ErofsImage image, Stream output)
    {
        _image = image;
        _output = output;
        _tar = new TarWriter(output);
    }

    /// <exception cref="ImageException"><c>image-damaged</c>: the file system is damaged.</exception>
    public static async Task WriteAsync(ErofsImage image, Stream output, CancellationToken cancellationToken)
    {
        var writer = new RootfsTar(image, output);
        await writer.WriteTreeAsync(cancellationToken);
        await writer._tar.EndAsync(cancellationToken);
    }

    private async Task WriteTreeAsync(CancellationToken cancellationToken)
    {
        var root = _image.ReadNode(_image.Root);
        var levels = new Stack<(byte[] Path, List<(byte[] Name, ulong Number)> Entries, int Next)>();
        await EnterAsync(root, [(byte)'.', (byte)'/'], []);
        while (levels.TryPop(out var level))
        {
            if (level.Next == level.Entries.Count)
                continue;
            levels.Push(level with { Next = level.Next + 1 });
            cancellationToken.ThrowIfCancellationRequested();
            var (name, number) = level.Entries[level.Next];
            var node = _image.ReadNode(number);
            byte[] path = [.. level.Path, .. name];
            if (node.Attributes.Type == InodeType.Directory)
                await EnterAsync(node, [.. path, (byte)'/'], [.. path, (byte)'/']);
            else
                await WriteLeafAsync(node, path, cancellationToken);
        }

        async ValueTask EnterAsync(ErofsNode directory, byte[] shown, byte[] prefix)
        {
            if (directory.Attributes.Type != InodeType.Directory || !_directories.Add(directory.Number))
                throw _image.Damaged();
            await _tar.WriteHeaderAsync(EntryOf(directory, TarEntryType.Directory, shown, [], 0), cancellationToken);
            levels.Push((prefix, _image.ReadDirectory(directory), 0));
        }
    }

    private async ValueTask WriteLeafAsync(ErofsNode node, byte[] path, CancellationToken cancellationToken)
    {
        if (node.Links > 1)
        {
            if (_linked.TryGetValue(node.Number, out var first))
            {
                await _tar.WriteHeaderAsync(EntryOf(node, TarEntryType.HardLink, path, first, 0), cancellationToken);
                return;
            }
            _linked.Add(node.Number, path);
        }
        switch (node.Attributes.Type)
        {
            case InodeType.Regular:
                await _tar.WriteHeaderAsync(EntryOf(node, TarEntryType.Regular, path, [], node.Size), cancellationToken);
                await CopyAsync(node, cancellationToken);
                await _tar.PadAsync(node.Size, cancellationToken);
                break;
            case InodeType.SymbolicLink:
                await _tar.WriteHeaderAsync(
                    EntryOf(node, TarEntryType.SymbolicLink, path, _image.ReadWhole(node, ErofsFormat.BlockSize), 0), cancellationToken);
                break;
            case InodeType.CharacterDevice:
                await _tar.WriteHeaderAsync(EntryOf(node, TarEntryType.CharacterDevice, path, [], 0), cancellationToken);
                break;
            case InodeType.BlockDevice:
                await _tar.WriteHeaderAsync(EntryOf(node, TarEntryType.BlockDevice, path, [], 0), cancellationToken);
                break;
            default:
                await _tar.WriteHeaderAsync(EntryOf(node, TarEntryType.Fifo, path, [], 0), cancellationToken);
                break;
        }
    }

    private async ValueTask CopyAsync(ErofsNode node, CancellationToken cancellationToken)
    {
        for (long done = 0; done < node.Size;)
        {
            var read = _image.ReadContent(node, done, _buffer);
            await _output.WriteAsync(_buffer.AsMemory(0, read), cancellationToken);
            done += read;
        }
    }

    private TarEntry EntryOf(ErofsNode node, TarEntryType type, byte[] path, byte[] link, long size)
    {
        var attributes = node.Attributes;
        var (major, minor) = ErofsFormat.DecodeDevice(attributes.Device);
        return new TarEntry
        {
            Type = type,
            Name = path,
            LinkTarget = link,
            Permissions = attributes.Permissions,
            UserId = attributes.UserId,
            GroupId = attributes.GroupId,
            Seconds = attributes.Seconds,
            Nanoseconds = attributes.Nanoseconds,
            Size = size,
            DeviceMajor = major,
            DeviceMinor = minor,
            Xattrs = type == TarEntryType.HardLink ? [] : XattrEncoder.Decode(attributes.Xattrs) ?? throw _image.Damaged(),
        };
    }
}
