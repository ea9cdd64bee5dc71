using System.Formats.Tar;
using Ravel.Contracts.Api;
using Ravel.Vmm.Boot;

namespace Ravel.Vmm.Kernels;

/// <summary>
/// Writes what somebody sends as a kernel into a directory: a kernel file as it is, or from a tar <c>vmlinuz</c> or <c>vmlinux</c>
/// and the modules guests load. Nothing else of a tar is written, and no name in it decides where.
/// </summary>
internal static class KernelUpload
{
    private const int TarMagicAt = 257;
    private const int TarBlock = 512;
    private const int MaxEntries = 100_000;
    private const int MaxModule = 64 * 1024 * 1024;

    /// <summary>As much as any name or extended header needs; .NET's reader asks for a header whole, whatever length it announces.</summary>
    private const int MaxHeader = 1024 * 1024;

    /// <exception cref="KernelException"><c>kernel-invalid</c>: too large, or a tar that is damaged or has no kernel.</exception>
    public static async Task ReceiveAsync(IAsyncEnumerable<ReadOnlyMemory<byte>> content, string directory, CancellationToken cancellationToken)
    {
        await using var chunks = content.GetAsyncEnumerator(cancellationToken);
        await using var all = new ChunkStream(chunks);
        var head = await all.PeekAsync(TarBlock);
        try
        {
            if (head.Length == TarBlock && head.Span[TarMagicAt..].StartsWith("ustar"u8))
                await UnpackAsync(all, directory, cancellationToken);
            else
                await SaveAsync(all, Path.Combine(directory, NameOf(head.Span)), KernelFile.MaxBytes, cancellationToken);
        }
        catch (Exception e) when (e is InvalidDataException or InvalidOperationException or FormatException or EndOfStreamException)
        {
            throw Invalid($"The archive is damaged: {e.Message}");
        }
    }

    private static async Task UnpackAsync(Stream archive, string directory, CancellationToken cancellationToken)
    {
        await using var tar = new TarReader(archive, leaveOpen: true);
        var (entries, hasKernel) = (0, false);
        var modulesSeen = new HashSet<string>(StringComparer.Ordinal);
        while (await tar.GetNextEntryAsync(copyData: false, cancellationToken) is { } entry)
        {
            if (++entries > MaxEntries)
                throw Invalid($"The archive has more than {MaxEntries} entries.");
            if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile) || entry.DataStream is not { } data)
                continue;
            var file = Path.GetFileName(entry.Name);
            if (file is "vmlinuz" or "vmlinux")
            {
                if (hasKernel)
                    throw Invalid("The archive holds more than one kernel; give one with vmlinuz or vmlinux and modules/.");
                hasKernel = true;
                await SaveAsync(data, Path.Combine(directory, file), KernelFile.MaxBytes, cancellationToken);
            }
            else if (Packing(file) is { } packing
                && GuestModules.InLoadOrder.FirstOrDefault(module => module.Name == ModuleFiles.NameOf(file)) is { } module)
            {
                var modules = Directory.CreateDirectory(Path.Combine(directory, KernelContent.ModulesDirectory)).FullName;
                if (!modulesSeen.Add(module.Name))
                    throw Invalid($"The archive holds the module {module.Name} twice.");
                await SaveAsync(data, Path.Combine(modules, module.Name + packing), MaxModule, cancellationToken);
            }
        }
        if (!hasKernel)
            throw Invalid("The archive holds no vmlinuz or vmlinux.");
    }

    private static string? Packing(string file) =>
        ((string[])[".ko", ".ko.xz", ".ko.zst"]).FirstOrDefault(suffix => file.EndsWith(suffix, StringComparison.Ordinal));

    private static string NameOf(ReadOnlySpan<byte> head) => KernelImage.IsElf(head) ? "vmlinux" : "vmlinuz";

    private static async Task SaveAsync(Stream from, string path, long limit, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        var buffer = new byte[1 << 17];
        int read;
        while ((read = await from.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken)) > 0)
        {
            if (file.Position + read > limit)
                throw Invalid($"{Path.GetFileName(path)} is larger than {limit} bytes, so it is no guest kernel.");
            await file.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }
    }

    private static KernelException Invalid(string message) => new(ProblemCodes.KernelInvalid, message);

    /// <summary>Chunks as a stream, which can be looked into before it is read.</summary>
    private sealed class ChunkStream(IAsyncEnumerator<ReadOnlyMemory<byte>> chunks) : Stream
    {
        private ReadOnlyMemory<byte> _chunk;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        /// <summary>The first bytes, fewer when there are no more; they stay to be read.</summary>
        public async Task<ReadOnlyMemory<byte>> PeekAsync(int count)
        {
            var head = new List<byte>(count);
            while (head.Count < count && await chunks.MoveNextAsync())
                head.AddRange(chunks.Current.Span);
            _chunk = head.ToArray();
            return _chunk[..Math.Min(count, _chunk.Length)];
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (buffer.Length > MaxHeader)
                throw new InvalidDataException($"it has a header of over {MaxHeader} bytes");
            while (_chunk.IsEmpty)
            {
                if (!await chunks.MoveNextAsync())
                    return 0;
                _chunk = chunks.Current;
            }
            var count = Math.Min(buffer.Length, _chunk.Length);
            _chunk[..count].CopyTo(buffer);
            _chunk = _chunk[count..];
            return count;
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
