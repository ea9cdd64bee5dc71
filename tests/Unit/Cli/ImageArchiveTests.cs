using System.Formats.Tar;
using Ravel.Cli.Errors;
using Ravel.Cli.Images;

namespace Ravel.Unit.Cli;

public sealed class ImageArchiveTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-layout-").FullName;

    [Fact]
    public async Task A_layout_becomes_a_tar_of_its_files_and_nothing_of_this_host()
    {
        Directory.CreateDirectory(Path.Combine(_directory, "blobs/sha256"));
        File.WriteAllText(Path.Combine(_directory, "index.json"), "{}");
        File.WriteAllText(Path.Combine(_directory, "oci-layout"), "layout");
        File.WriteAllText(Path.Combine(_directory, "blobs/sha256/abc"), "blob");
        using var first = new MemoryStream();
        await ImageArchive.WriteTreeAsync(_directory, first, CancellationToken.None);
        using var second = new MemoryStream();
        await ImageArchive.WriteTreeAsync(_directory, second, CancellationToken.None);

        Assert.Equal(first.ToArray(), second.ToArray());
        first.Position = 0;
        using var tar = new TarReader(first);
        var entries = new List<string>();
        while (await tar.GetNextEntryAsync() is { } entry)
        {
            using var reader = new StreamReader(entry.DataStream!);
            entries.Add($"{entry.Name}={await reader.ReadToEndAsync()} {entry.Uid} {entry.ModificationTime.ToUnixTimeSeconds()}");
        }
        Assert.Equal(["blobs/sha256/abc=blob 0 0", "index.json={} 0 0", "oci-layout=layout 0 0"], entries);
    }

    [Fact]
    public void A_directory_that_is_no_layout_is_refused() =>
        Assert.Contains("it has no index.json", Assert.Throws<CliException>(() => ImageArchive.Open(_directory)).Line);

    [Fact]
    public void A_file_that_is_not_there_is_refused() =>
        Assert.Equal(ExitCodes.Usage, Assert.Throws<CliException>(() => ImageArchive.Open(Path.Combine(_directory, "none"))).ExitCode);

    [Theory]
    [InlineData("docker.io/library/nginx:1", "nginx:1")]
    [InlineData("docker.io/team/app:1", "team/app:1")]
    [InlineData("localhost:5000/library/app:1", "localhost:5000/library/app:1")]
    public void References_are_shown_as_people_write_them(string reference, string familiar) =>
        Assert.Equal(familiar, ImageName.Familiar(reference));

    public void Dispose() => Directory.Delete(_directory, recursive: true);
}
