using Ravel.Images;
using Ravel.Images.Archives;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>Images in files: which one is meant, compressed archives, and archives made to harm.</summary>
public sealed class ArchiveTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-archives-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string Archive => Path.Combine(_directory, "in", "image.tar");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task The_only_image_of_an_archive_needs_no_name()
    {
        Write(ArchiveBuilder.Docker([["team/app:1"]]));
        Assert.Equal(["docker.io/team/app:1"], (await ImportAsync()).References);
    }

    [Theory]
    [InlineData("team/app:1", "team/app:1")]
    [InlineData("docker.io/team/app:1", "team/app:1")]
    [InlineData("other:2", "other:2")]
    [InlineData("also", "also:latest")]
    [InlineData("@0", "team/app:1")]
    [InlineData("@1", "other:2")]
    public async Task One_of_several_images_is_chosen_by_name_or_place(string choice, string expected)
    {
        Write(ArchiveBuilder.Docker([["team/app:1"], ["other:2", "also:latest"]]));
        Assert.Equal(ImageReference.Parse(expected).ToString(), Assert.Single((await ImportAsync(choice)).References));
    }

    [Fact]
    public async Task A_layout_directory_that_holds_a_fifo_or_device_is_refused_and_does_not_block()
    {
        var index = Layout("{}");
        var files = new DirectoryFiles(Path.GetDirectoryName(index)!);
        File.Delete(index);
        await CommandRunner.RunCheckedAsync("mkfifo", [index], cancellationToken: Cancellation);
        Assert.Equal("image-invalid", Assert.Throws<ImageException>(() => files.Open("index.json")).Code);

        File.Delete(index);
        File.CreateSymbolicLink(index, "/dev/zero");
        Assert.Contains("is not a regular file", Assert.Throws<ImageException>(() => files.Open("index.json")).Message);
        Assert.Null(files.Open("blobs/sha256/none"));
    }

    [Fact]
    public async Task Several_images_without_a_choice_are_listed()
    {
        Write(ArchiveBuilder.Docker([["team/app:1"], ["other:2"], []]));
        var error = await FailsAsync("invalid-request");
        Assert.Contains("several images; name one of team/app:1, other:2, @2", error);
    }

    [Fact]
    public async Task A_choice_that_is_not_there_lists_what_is()
    {
        Write(ArchiveBuilder.Docker([["team/app:1"]]));
        Assert.Contains("no image other:2; it has team/app:1", await FailsAsync("image-not-found", "other:2"));
        Assert.Contains("no image @7", await FailsAsync("image-not-found", "@7"));
    }

    [Theory]
    [InlineData("one")]
    [InlineData("example.org/app:one")]
    public async Task An_image_of_a_layout_is_chosen_by_tag_or_full_name(string choice)
    {
        var index = Layout("""{"org.opencontainers.image.ref.name":"one","io.containerd.image.name":"example.org/app:one"}""");
        await File.WriteAllTextAsync(
            index,
            (await File.ReadAllTextAsync(index, Cancellation)).Replace(
                "]}", """,{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:none","size":2,"annotations":{"org.opencontainers.image.ref.name":"two"} }]}"""),
            Cancellation);
        Write(ArchiveBuilder.Oci(Path.GetDirectoryName(index)!));
        Assert.Equal(["example.org/app:one"], (await ImportAsync(choice)).References);
        Assert.Contains("name one of example.org/app:one, two", await FailsAsync("invalid-request"));
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("zstd")]
    [InlineData("gzip members")]
    public async Task A_compressed_archive_is_the_archive(string how)
    {
        var plain = ArchiveBuilder.Docker([["team/app:1"]]);
        Write(plain);
        var expected = await ImportAsync();
        Write(how switch
        {
            "gzip" => ArchiveBuilder.Gzip(plain),
            "zstd" => ArchiveBuilder.Zstd(plain),
            // As pigz and bgzip write it.
            _ => [.. ArchiveBuilder.Gzip(plain[..1000]), .. ArchiveBuilder.Gzip(plain[1000..])],
        });
        Assert.Equal(expected.ManifestDigest, (await ImportAsync()).ManifestDigest);
        Assert.Equal(["image.tar"], Directory.EnumerateFileSystemEntries(Path.GetDirectoryName(Archive)!).Select(Path.GetFileName));
    }

    [Theory]
    [InlineData(new byte[] { 0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0, 1, 2 }, "compressed with xz")]
    [InlineData(new byte[] { (byte)'B', (byte)'Z', (byte)'h', (byte)'9', 1, 2, 3, 4 }, "compressed with bzip2")]
    [InlineData(new byte[] { 0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 }, "not compressed as it says")]
    [InlineData(new byte[] { 0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3, 4 }, "not compressed as it says")]
    [InlineData(new byte[] { 1, 2, 3 }, "not an archive of an image")]
    [InlineData(new byte[0], "neither an oci-archive nor a docker-archive")]
    public async Task What_is_no_archive_is_refused_by_name(byte[] content, string words)
    {
        Write(content);
        var error = await FailsAsync("image-invalid");
        Assert.Contains(words, error);
        Assert.Contains(Archive, error);
    }

    [Fact]
    public async Task A_compressed_archive_without_end_stops_at_the_limit()
    {
        Write(ArchiveBuilder.Gzip(new byte[3_000_000]));
        Assert.Contains("over 1000000 bytes when inflated", await FailsAsync("image-invalid", limits: new ImageLimits { MaxCompressedBytes = 1_000_000 }));
        Assert.Equal(["image.tar"], Directory.EnumerateFileSystemEntries(Path.GetDirectoryName(Archive)!).Select(Path.GetFileName));
    }

    [Fact]
    public async Task An_archive_cut_off_anywhere_is_refused_with_a_code()
    {
        var whole = ArchiveBuilder.Docker([["team/app:1"], ["other:2"]]);
        // The two zero blocks at the end and the padding may be missing.
        for (var length = 512; length < whole.Length - 2048; length += 512 - 7)
        {
            Write(whole[..length]);
            await FailsAsync(code: null, choice: "team/app:1");
            Write(ArchiveBuilder.Gzip(whole)[..(length / 16)]);
            await FailsAsync(code: null, choice: "team/app:1");
        }
    }

    [Theory]
    [InlineData("{}", "is not a list")]
    [InlineData("nonsense", "is not JSON")]
    [InlineData("[]", "holds no image")]
    [InlineData("""[{"Config":"../../../etc/passwd","Layers":[]}]""", "no ../../../etc/passwd")]
    [InlineData("""[{"Config":"/etc/passwd","Layers":[]}]""", "no /etc/passwd")]
    [InlineData("""[{"Config":"manifest.json","Layers":[]}]""", "not a JSON object")]
    [InlineData("""[{"Config":7,"Layers":[]}]""", "names no configuration")]
    [InlineData("""[{"Layers":[1]}]""", "names no configuration")]
    public async Task A_list_of_images_made_to_harm_is_refused(string manifest, string words)
    {
        Write(ArchiveBuilder.Docker([["team/app:1"]], _ => manifest));
        Assert.Contains(words, await FailsAsync(code: null));
    }

    [Fact]
    public async Task Links_between_members_are_followed_inside_the_archive_and_not_for_ever()
    {
        var manifest = """[{"Config":"c.json","Layers":[]}]""";
        Write(new TarBuilder().SymbolicLink("c.json", "d.json").SymbolicLink("d.json", "c.json").File("manifest.json", manifest).ToArray());
        Assert.Contains("no c.json", await FailsAsync("image-not-found"));
        Write(new TarBuilder().SymbolicLink("c.json", "/etc/passwd").File("manifest.json", manifest).ToArray());
        Assert.Contains("no c.json", await FailsAsync("image-not-found"));
        Write(new TarBuilder().SymbolicLink("c.json", "../../../../../../etc/passwd").File("manifest.json", manifest).ToArray());
        Assert.Contains("no c.json", await FailsAsync("image-not-found"));
    }

    [Fact]
    public async Task Names_with_control_characters_do_not_reach_the_message()
    {
        Write(ArchiveBuilder.Docker([["a"], ["b"]], text => text.Replace("\"a\"", "\"\\u001b[31mred\"")));
        var error = await FailsAsync("invalid-request");
        Assert.DoesNotContain('\u001b', error);
        Assert.Contains("?[31mred", error);
    }

    [Fact]
    public async Task A_member_that_lies_about_its_size_is_refused()
    {
        Write([.. new TarBuilder().Entry('0', "manifest.json"u8.ToArray(), content: new byte[512], size: long.MaxValue >> 30).ToArray()]);
        Assert.Contains("ends before its last member is complete", await FailsAsync("image-invalid"));
    }

    [Fact]
    public async Task An_archive_with_too_many_members_is_refused()
    {
        var archive = new TarBuilder();
        for (var i = 0; i <= 100_000; i++)
            archive.Directory("d");
        Write(archive.ToArray());
        Assert.Contains("over 100000 members", await FailsAsync("image-invalid"));
    }

    private string Layout(string annotations)
    {
        var layout = Directory.CreateDirectory(Path.Combine(_directory, "layout")).FullName;
        new LayoutBuilder(layout).Layer(new TarBuilder().File("a", "1").ToArray()).Build();
        var index = Path.Combine(layout, "index.json");
        File.WriteAllText(index, File.ReadAllText(index).Replace("{\"org.opencontainers.image.ref.name\":\"latest\"}", annotations));
        return index;
    }

    private void Write(byte[] archive)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Archive)!);
        File.WriteAllBytes(Archive, archive);
    }

    private async Task<StoredImage> ImportAsync(string? choice = null, ImageLimits? limits = null)
    {
        using var store = await ImageStore.OpenAsync(
            new ImageStoreOptions { DataDirectory = Path.Combine(_directory, "data"), Limits = limits ?? new ImageLimits() }, TimeProvider.System, Cancellation);
        return await store.ImportAsync(Archive, choice, null, Cancellation);
    }

    /// <returns>The message.</returns>
    private async Task<string> FailsAsync(string? code, string? choice = null, ImageLimits? limits = null)
    {
        var error = await Assert.ThrowsAsync<ImageException>(() => ImportAsync(choice, limits));
        if (code is not null)
            Assert.Equal(code, error.Code);
        return error.Message;
    }
}
