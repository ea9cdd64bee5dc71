using System.Formats.Tar;

namespace Ravel.Cli.Files;

/// <summary>
/// Who owns a file. .NET tells that to nobody but its tar writer, and system calls belong to Linux, which this project may not
/// reference: so the writer writes the file's header, and no more.
/// </summary>
internal static class LocalOwner
{
    /// <summary>Of a header with the longest target that a link can have; of content, what is left of it.</summary>
    private const int Most = 16 * 512;

    /// <exception cref="IOException">The file cannot be looked at.</exception>
    public static (int User, int Group) Of(string path)
    {
        var header = new Head();
        try
        {
            using var writer = new TarWriter(header, TarEntryFormat.Gnu, leaveOpen: true);
            writer.WriteEntry(path, "x");
        }
        catch (EnoughException)
        {
            // The content is not asked for.
        }
        using var reader = new TarReader(new MemoryStream(header.Bytes), leaveOpen: false);
        return reader.GetNextEntry() is { } entry ? (entry.Uid, entry.Gid) : throw new IOException("its owner is not known");
    }

    private sealed class EnoughException : Exception;

    private sealed class Head : Stream
    {
        private int _length;

        public byte[] Bytes { get; } = new byte[Most];

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override void Write(byte[] buffer, int offset, int count)
        {
            if (_length + count > Bytes.Length)
                throw new EnoughException();
            buffer.AsSpan(offset, count).CopyTo(Bytes.AsSpan(_length));
            _length += count;
        }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
