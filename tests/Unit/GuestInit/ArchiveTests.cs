using System.Formats.Tar;
using System.Text;
using Ravel.Contracts.Link;
using Ravel.GuestInit.Archives;
using Ravel.GuestInit.Processes;
using Ravel.Linux.Guest;

namespace Ravel.Unit.GuestInit;

public sealed class ArchiveTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-archive-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void A_tree_comes_out_of_its_archive_as_it_went_in()
    {
        var source = Make("source");
        File.WriteAllBytes(Path.Combine(source, "data"), new byte[300_000]);
        Directory.CreateDirectory(Path.Combine(source, "deep/er"));
        File.WriteAllText(Path.Combine(source, "deep/er", new string('n', 200)), "long name");
        File.SetUnixFileMode(Path.Combine(source, "data"), UnixFileMode.SetGroup | UnixFileMode.UserRead | UnixFileMode.GroupExecute);
        File.CreateSymbolicLink(Path.Combine(source, "deep/link"), "../no-such-file");
        FileMaking.MakeHardLink(Path.Combine(source, "data"), Path.Combine(source, "deep/same"));
        FileMaking.MakeNode(Path.Combine(source, "pipe"), FileKind.Fifo, 0x180, 0, 0);
        FileMaking.SetModified(Path.Combine(source, "data"), 1_234_567_890_123_456_700);
        FileMaking.SetModified(Path.Combine(source, "deep"), -5_000_000_100);

        var target = Make("target");
        Unpack(Pack(source), target, "source");

        Assert.Equal(Describe(source), Describe(Path.Combine(target, "source")));
    }

    [Fact]
    public void A_file_goes_where_cp_would_put_it()
    {
        var file = Path.Combine(_directory, "file");
        File.WriteAllText(file, "content");
        var archive = Pack(file);
        var directory = Make("directory");
        Unpack(archive, directory, "file");
        Assert.Equal("content", File.ReadAllText(Path.Combine(directory, "file")));

        var other = Path.Combine(directory, "other");
        Unpack(archive, other, "file");
        File.CreateSymbolicLink(Path.Combine(directory, "link"), other);
        File.WriteAllText(other, "old");
        // What a link leads to is replaced, not the link.
        Unpack(archive, Path.Combine(directory, "link"), "file");
        Assert.Equal(("content", other), (File.ReadAllText(other), new FileInfo(Path.Combine(directory, "link")).LinkTarget));

        Refused(GuestArchives.NotFound, archive, Path.Combine(_directory, "none/file"), "file");
        Refused(GuestArchives.NotFound, archive, Path.Combine(_directory, "none/"), "file");
        Refused(GuestArchives.NotFound, archive, Path.Combine(_directory, "none"), null);
        Refused(GuestArchives.Unsuitable, Pack(directory), other, "directory");
        Refused(GuestArchives.Unsuitable, archive, other, null);
    }

    [Fact]
    public void The_contents_of_a_directory_go_into_one_that_is_made_for_them()
    {
        var source = Make("source");
        File.WriteAllText(Path.Combine(source, "a"), "1");
        var target = Path.Combine(_directory, "new");
        Unpack(Pack(source + "/."), target, ".");
        Assert.Equal("1", File.ReadAllText(Path.Combine(target, "a")));
    }

    [Theory]
    [InlineData("../escaped")]
    [InlineData("top/../../escaped")]
    public void A_name_that_leads_upwards_is_refused(string name)
    {
        var bytes = new MemoryStream();
        using (var writer = new TarWriter(bytes, leaveOpen: true))
            writer.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream("x"u8.ToArray()) });
        Refused(GuestArchives.Unsuitable, bytes.ToArray(), Make("target"), null);
        Assert.False(File.Exists(Path.Combine(_directory, "escaped")));
    }

    [Fact]
    public void What_is_not_there_is_not_packed()
    {
        var error = Assert.Throws<ArchiveException>(() => Pack(Path.Combine(_directory, "none")));
        Assert.Equal(GuestArchives.NotFound, error.ExitCode);
        File.WriteAllText(Path.Combine(_directory, "file"), "");
        Assert.Equal(GuestArchives.Unsuitable, Assert.Throws<ArchiveException>(() => Pack(Path.Combine(_directory, "file/."))).ExitCode);
    }

    [Fact]
    public void A_file_that_shrinks_while_it_is_read_breaks_the_archive_off()
    {
        var file = Path.Combine(_directory, "file");
        File.WriteAllText(file, "four");
        using var content = new FixedLengthFile(file, 3);
        var buffer = new byte[10];
        Assert.Equal((3, 0), (content.Read(buffer), content.Read(buffer)));
        using var longer = new FixedLengthFile(file, 5);
        Assert.Equal(4, longer.Read(buffer));
        Assert.Throws<IOException>(() => longer.Read(buffer));
    }

    [Theory]
    [InlineData("low 0\noom 3\noom_kill 2\noom_group_kill 0\n", 2)]
    [InlineData("oom_kill x\n", 0)]
    [InlineData("", 0)]
    public void The_kernel_counts_what_it_killed_for_want_of_memory(string events, long kills) =>
        Assert.Equal(kills, ControlGroup.ParseOomKills(events));

    private string Make(string name) => Directory.CreateDirectory(Path.Combine(_directory, name)).FullName;

    private static byte[] Pack(string path)
    {
        var bytes = new MemoryStream();
        using (var writer = new TarWriter(bytes, TarEntryFormat.Pax, leaveOpen: true))
            new TreePacker(writer).Pack(path);
        return bytes.ToArray();
    }

    private static void Unpack(byte[] archive, string destination, string? top) => new TreeUnpacker(destination, top).Unpack(new MemoryStream(archive));

    private static void Refused(int exitCode, byte[] archive, string destination, string? top) =>
        Assert.Equal(exitCode, Assert.Throws<ArchiveException>(() => Unpack(archive, destination, top)).ExitCode);

    /// <summary>Kind, mode, owner, links, time in units of 100 ns, and content or target of everything.</summary>
    private static List<string> Describe(string root)
    {
        var lines = new List<string>();
        foreach (var path in Directory.EnumerateFileSystemEntries(root, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            var status = FileStatus.Of(path, follow: false)!.Value;
            var content = status.Kind switch
            {
                FileKind.SymbolicLink => FileMaking.ReadLink(path),
                FileKind.Regular => Encoding.Latin1.GetString(File.ReadAllBytes(path)),
                _ => "",
            };
            lines.Add($"{path[root.Length..]} {status.Kind} {status.Mode:x} {status.UserId}:{status.GroupId} {status.Links} {status.Modified / 100} {content}");
        }
        return lines;
    }
}
