using System.Formats.Tar;
using System.Text;
using Ravel.Cli.Errors;
using Ravel.Cli.Files;

namespace Ravel.Unit.Cli;

/// <summary>What a machine sends is unpacked below the one name that was asked for, or not at all.</summary>
public sealed class LocalTargetTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-cp-").FullName;

    private string Outside => Path.Combine(_directory, "outside");

    private string Target => Path.Combine(_directory, "target");

    public LocalTargetTests()
    {
        Directory.CreateDirectory(Target);
        Directory.CreateDirectory(Outside);
        File.WriteAllText(Path.Combine(Outside, "victim"), "untouched");
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData("../outside/victim")]
    [InlineData("top/../../outside/victim")]
    [InlineData("/etc/victim")]
    [InlineData("other/victim")]
    public async Task A_name_that_leads_elsewhere_ends_the_copy(string name)
    {
        await Assert.ThrowsAsync<CliException>(() => UnpackAsync(Folder("top"), Plain("top/first", "1"), Plain(name, "x")));
        AssertUntouched();
    }

    [Theory]
    [InlineData("/srv/top", ".bashrc")]
    [InlineData("/srv/top", ".ssh/authorized_keys")]
    [InlineData("top", "./")]
    [InlineData("/srv/top/", "topper")]
    public async Task A_machine_does_not_choose_what_its_files_are_called_here(string source, string name)
    {
        var archive = new MemoryStream(Archive(name.EndsWith('/') ? [Folder(name), Plain(name + ".bashrc", "x")] : [Plain(name, "x")]));
        await Assert.ThrowsAsync<CliException>(() => new LocalTarget(Target, source).UnpackAsync(archive, TestContext.Current.CancellationToken));
        Assert.Empty(Directory.EnumerateFileSystemEntries(Target));
    }

    [Theory]
    [InlineData('x')]
    [InlineData('g')]
    [InlineData('L')]
    [InlineData('K')]
    public async Task A_header_of_many_megabytes_is_refused_before_it_is_read(char type)
    {
        var header = new byte[512];
        "top"u8.CopyTo(header);
        "0000644\0"u8.CopyTo(header.AsSpan(100));
        "02000000000\0"u8.CopyTo(header.AsSpan(124));
        "00000000000\0        "u8.CopyTo(header.AsSpan(136));
        header[156] = (byte)type;
        (type is 'x' or 'g' ? "ustar\000"u8 : "ustar  \0"u8).CopyTo(header.AsSpan(257));
        Encoding.ASCII.GetBytes($"{Convert.ToString(header.Sum(value => value), 8).PadLeft(6, '0')}\0").CopyTo(header, 148);
        // Of what the header announces, far more is there than may be asked for.
        await using var archive = new MemoryStream([.. header, .. new byte[8 << 20]]);
        var error = await Assert.ThrowsAsync<CliException>(() => new LocalTarget(Target, "/srv/top").UnpackAsync(archive, TestContext.Current.CancellationToken));
        Assert.Contains("a header of over 1048576 bytes", error.Message);
        Assert.InRange(archive.Position, 1, 1 << 20);
    }

    [Fact]
    public async Task Nothing_is_written_through_a_link_of_the_same_archive()
    {
        await UnpackAsync(Folder("top"), Link("top/way", Outside), Plain("top/good", "1"));
        Assert.Equal(Outside, new FileInfo(Path.Combine(Target, "top/way")).LinkTarget);
        AssertUntouched();

        // A link is made last, so that the directory of the same name comes first, and the link cannot take its place.
        await Assert.ThrowsAsync<CliException>(() => UnpackAsync(Folder("two"), Link("two/way", Outside), Plain("two/way/victim", "overwritten")));
        AssertUntouched();
    }

    [Fact]
    public async Task Nothing_is_written_through_a_link_that_was_there()
    {
        Directory.CreateDirectory(Path.Combine(Target, "top"));
        File.CreateSymbolicLink(Path.Combine(Target, "top/way"), Outside);
        await Assert.ThrowsAsync<CliException>(() => UnpackAsync(Folder("top"), Plain("top/way/victim", "overwritten")));
        File.CreateSymbolicLink(Path.Combine(Target, "top/file"), Path.Combine(Outside, "victim"));
        await UnpackAsync(Folder("top"), Plain("top/file", "replaces the link"));
        AssertUntouched();
        Assert.Null(new FileInfo(Path.Combine(Target, "top/file")).LinkTarget);
    }

    [Fact]
    public async Task A_hard_link_to_what_did_not_come_is_left_out()
    {
        var hard = new PaxTarEntry(TarEntryType.HardLink, "top/hard") { LinkName = "top/good" };
        var skipped = await UnpackAsync(
            Folder("top"), new PaxTarEntry(TarEntryType.HardLink, "top/none") { LinkName = "top/absent" }, Plain("top/good", "1"), hard);
        Assert.Single(skipped);
        Assert.Equal("1", await File.ReadAllTextAsync(Path.Combine(Target, "top/hard"), TestContext.Current.CancellationToken));
        await Assert.ThrowsAsync<CliException>(
            () => UnpackAsync(Folder("top"), new PaxTarEntry(TarEntryType.HardLink, "top/x") { LinkName = "../outside/victim" }));
    }

    [Fact]
    public async Task Set_id_bits_and_devices_stay_behind()
    {
        var program = Plain("top/program", "#!");
        program.Mode = UnixFileMode.SetUser | UnixFileMode.SetGroup | UnixFileMode.UserRead | UnixFileMode.UserExecute;
        var skipped = await UnpackAsync(
            Folder("top"), program, new PaxTarEntry(TarEntryType.CharacterDevice, "top/null") { DeviceMajor = 1, DeviceMinor = 3 });
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserExecute, File.GetUnixFileMode(Path.Combine(Target, "top/program")));
        Assert.Single(skipped);
    }

    [Fact]
    public async Task An_archive_that_breaks_off_or_is_none_is_an_error_of_one_line()
    {
        var whole = Archive(Folder("top"), Plain("top/a", new string('x', 5000)));
        foreach (var bytes in (byte[][])[whole[..2000], Encoding.ASCII.GetBytes(new string('?', 1024)), []])
        {
            var error = await Assert.ThrowsAsync<CliException>(() => new LocalTarget(Target, "/srv/top").UnpackAsync(new MemoryStream(bytes), CancellationToken.None));
            Assert.DoesNotContain('\n', error.Line);
        }
    }

    [Fact]
    public async Task Files_go_where_cp_would_put_them()
    {
        var renamed = Path.Combine(_directory, "renamed");
        await UnpackToAsync(renamed, Plain("top", "1"));
        Assert.Equal("1", await File.ReadAllTextAsync(renamed, TestContext.Current.CancellationToken));

        var tree = Path.Combine(_directory, "tree");
        await UnpackToAsync(tree, Folder("top"), Plain("top/a", "2"));
        Assert.True(File.Exists(Path.Combine(tree, "a")));
        await UnpackToAsync(tree, Folder("top"), Plain("top/a", "3"));
        Assert.True(File.Exists(Path.Combine(tree, "top/a")));
        await UnpackToAsync(tree, Folder("./"), Plain("./b", "4"));
        Assert.True(File.Exists(Path.Combine(tree, "b")));

        await Assert.ThrowsAsync<CliException>(() => UnpackToAsync(renamed, Folder("top"), Plain("top/a", "2")));
        await Assert.ThrowsAsync<CliException>(() => UnpackToAsync(Path.Combine(_directory, "none/x"), Plain("top", "1")));
        await Assert.ThrowsAsync<CliException>(() => UnpackToAsync(Path.Combine(_directory, "none/"), Plain("top", "1")));
    }

    [Theory]
    [InlineData("web:/srv", "web", "/srv")]
    [InlineData("app/web:srv", "app/web", "srv")]
    [InlineData("./a:b", null, "./a:b")]
    [InlineData("/a:b", null, "/a:b")]
    [InlineData("-", null, "-")]
    [InlineData("a", null, "a")]
    public void A_machine_stands_before_a_colon(string text, string? machine, string path) =>
        Assert.Equal(new CopyCommand.Place(machine, path), CopyCommand.Place.Parse(text));

    private Task<IReadOnlyList<string>> UnpackAsync(params TarEntry[] entries) => UnpackToAsync(Target, entries);

    private static Task<IReadOnlyList<string>> UnpackToAsync(string target, params TarEntry[] entries) =>
        new LocalTarget(target, entries[0].Name.StartsWith('.') ? "/srv/." : "/srv/top").UnpackAsync(new MemoryStream(Archive(entries)), TestContext.Current.CancellationToken);

    private void AssertUntouched()
    {
        Assert.Equal("untouched", File.ReadAllText(Path.Combine(Outside, "victim")));
        Assert.Equal(["victim"], Directory.EnumerateFileSystemEntries(Outside).Select(Path.GetFileName));
    }

    private static byte[] Archive(params TarEntry[] entries)
    {
        var bytes = new MemoryStream();
        using (var writer = new TarWriter(bytes, leaveOpen: true))
        {
            foreach (var entry in entries)
                writer.WriteEntry(entry);
        }
        return bytes.ToArray();
    }

    private static PaxTarEntry Folder(string name) =>
        new(TarEntryType.Directory, name) { Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute };

    private static PaxTarEntry Plain(string name, string content) => new(TarEntryType.RegularFile, name)
    {
        Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        DataStream = new MemoryStream(Encoding.UTF8.GetBytes(content)),
    };

    private static PaxTarEntry Link(string name, string target) => new(TarEntryType.SymbolicLink, name) { LinkName = target };
}
