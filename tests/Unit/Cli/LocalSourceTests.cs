using System.Formats.Tar;
using Ravel.Cli.Errors;
using Ravel.Cli.Files;
using Ravel.Linux.Processes;
using Ravel.Testing.Needs;

namespace Ravel.Unit.Cli;

public sealed class LocalSourceTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-cp-").FullName;

    private static CancellationToken None => CancellationToken.None;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_file_that_grows_meanwhile_is_sent_as_long_as_it_was(bool keepOwners)
    {
        var log = Write("tree/a.log", new string('x', 300_000));
        Write("tree/b", "after");
        using var archive = new Watched(() => File.AppendAllText(log, "more"));
        await LocalSource.Open(Path.Combine(_directory, "tree"), follow: false).WriteAsync(archive, keepOwners, None);

        archive.Position = 0;
        using var tar = new TarReader(archive);
        var lengths = new List<(string, long)>();
        while (await tar.GetNextEntryAsync(cancellationToken: None) is { } entry)
            lengths.Add((entry.Name, entry.Length));
        Assert.Equal([("tree/", 0), ("tree/a.log", 300_000), ("tree/b", 5)], lengths);
    }

    [Fact]
    public async Task A_file_that_shrinks_breaks_the_copy_off_with_its_name()
    {
        var log = Write("a.log", new string('x', 300_000));
        using var archive = new Watched(() => File.WriteAllText(log, "short"));
        var error = await Assert.ThrowsAsync<CliException>(() => LocalSource.Open(log, follow: false).WriteAsync(archive, false, None));
        Assert.Equal($"ravel: {log}: became shorter while it was read; copy it again", error.Line);
    }

    [Fact]
    public async Task What_fails_on_the_way_to_the_server_is_not_the_files_fault()
    {
        var file = Write("a", "content");
        using var broken = new Watched(() => throw new IOException("Broken pipe"));
        Assert.Equal(
            "Broken pipe", (await Assert.ThrowsAsync<IOException>(() => LocalSource.Open(file, follow: false).WriteAsync(broken, false, None))).Message);
    }

    [Fact]
    public async Task Owners_of_files_links_and_directories_are_kept_when_asked_for()
    {
        Need.Root();
        FileLinks.ChangeOwner(Write("tree/file", "content"), 1234, 4321);
        File.CreateSymbolicLink(Path.Combine(_directory, "tree/link"), new string('t', 300));
        FileLinks.ChangeOwner(Path.Combine(_directory, "tree"), 5, 6);
        using var archive = new MemoryStream();
        await LocalSource.Open(Path.Combine(_directory, "tree"), follow: false).WriteAsync(archive, keepOwners: true, None);

        archive.Position = 0;
        using var tar = new TarReader(archive);
        var owners = new List<(string, int, int)>();
        while (await tar.GetNextEntryAsync(cancellationToken: None) is { } entry)
            owners.Add((entry.Name, entry.Uid, entry.Gid));
        Assert.Equal([("tree/", 5, 6), ("tree/file", 1234, 4321), ("tree/link", 0, 0)], owners);
    }

    private string Write(string name, string content)
    {
        var path = Path.Combine(_directory, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content);
        return path;
    }

    /// <summary>Does something after the first bytes of the archive, when a file's length has been told.</summary>
    private sealed class Watched(Action first) : MemoryStream
    {
        private int _writes;

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await base.WriteAsync(buffer, cancellationToken);
            // Headers are written in blocks of 512; by then a file has been opened.
            if (Length > 2048 && Interlocked.Exchange(ref _writes, 1) == 0)
                first();
        }

        public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }
}
