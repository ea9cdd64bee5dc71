using System.Formats.Tar;
using Microsoft.AspNetCore.Http;
using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.Testing.Cli;
using Ravel.Testing.Images;

namespace Ravel.Integration.Cli;

public sealed class ImageCommandTests : IAsyncLifetime
{
    private static readonly Image Sample = new()
    {
        Digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        References = ["docker.io/library/nginx:1", "localhost:5000/app:2"],
        Size = 12_345_678,
        CreatedAt = SampleMachines.Now,
    };

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-image-").FullName;
    private FakeApi _api = null!;

    public async ValueTask InitializeAsync() => _api = await FakeApi.StartAsync();

    public async ValueTask DisposeAsync()
    {
        await _api.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task A_pull_prints_layers_on_stderr_and_the_digest_on_stdout()
    {
        _api.OnLines(
            "POST /v1/images/pull",
            ApiJson.Default.PullProgress,
            new PullProgress { Phase = "resolve" },
            new PullProgress { Phase = "pull", Registry = "mirror.example:5000" },
            new PullProgress { Layer = "sha256:fedcba9876543210", Received = 1000, Total = 1000 },
            new PullProgress { Phase = "build" },
            new PullProgress { Image = Sample });

        var result = await _api.RavelAsync("image", "pull", "nginx:1");

        Assert.Equal((0, "resolve\npull from mirror.example:5000\nfedcba987654 1.00kB\nbuild\n"), (result.ExitCode, result.Error));
        Assert.Matches($"^{Sample.Digest} 12\\.3MB in [0-9]+\\.[0-9] s\n$", result.Output);
        Assert.Equal("""{"reference":"nginx:1","pull_policy":"always"}""", Assert.Single(_api.Requests).Body);
    }

    [Fact]
    public async Task A_quiet_pull_prints_the_digest_and_nothing_else()
    {
        _api.OnLines(
            "POST /v1/images/pull", ApiJson.Default.PullProgress, new PullProgress { Phase = "resolve" }, new PullProgress { Image = Sample });

        var result = await _api.RavelAsync("image", "pull", "--quiet", "nginx:1");

        Assert.Equal((0, Sample.Digest + "\n", ""), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public async Task A_pull_as_json_is_its_events()
    {
        _api.OnLines(
            "POST /v1/images/pull",
            ApiJson.Default.PullProgress,
            new PullProgress { Phase = "pull", Registry = "mirror.example:5000" },
            new PullProgress { Phase = "pull", Layer = "sha256:fedcba9876543210", Received = 500, Total = 1000, BytesPerSecond = 250 },
            new PullProgress { Image = Sample });

        var result = await _api.RavelAsync("image", "pull", "--json", "nginx:1");

        var lines = result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal((0, "", 3), (result.ExitCode, result.Error, lines.Length));
        Assert.Equal("""{"phase":"pull","registry":"mirror.example:5000"}""", lines[0]);
        Assert.Equal("""{"phase":"pull","layer":"sha256:fedcba9876543210","received":500,"total":1000,"bytes_per_second":250}""", lines[1]);
        Assert.StartsWith("""{"image":{""", lines[2]);
    }

    [Fact]
    public async Task A_pull_that_breaks_off_is_an_error()
    {
        _api.OnLines("POST /v1/images/pull", ApiJson.Default.PullProgress, new PullProgress { Phase = "resolve" });

        var result = await _api.RavelAsync("image", "pull", "nginx:1");

        Assert.Equal((1, ""), (result.ExitCode, result.Output));
        Assert.EndsWith("ravel: nginx:1: the server broke off before the image was there; try again; see raveld.log in the data directory\n", result.Error);
    }

    [Fact]
    public async Task A_directory_is_uploaded_as_a_tar()
    {
        File.WriteAllText(Path.Combine(_directory, "index.json"), "{}");
        Directory.CreateDirectory(Path.Combine(_directory, "blobs/sha256"));
        File.WriteAllBytes(Path.Combine(_directory, "blobs/sha256/big"), new byte[3_000_000]);
        var entries = new List<(string, long)>();
        OnImport(async body =>
        {
            await using var tar = new TarReader(body);
            while (await tar.GetNextEntryAsync() is { } entry)
                entries.Add((entry.Name, entry.Length));
        });

        var result = await _api.RavelAsync("image", "import", _directory, "--name", "localhost:5000/app:2");

        Assert.Equal((0, Sample.Digest + "\n"), (result.ExitCode, result.Output));
        Assert.Equal([("blobs/sha256/big", 3_000_000), ("index.json", 2)], entries);
        Assert.Equal("?reference=localhost%3A5000%2Fapp%3A2", Assert.Single(_api.Requests).Query);
    }

    [Fact]
    public async Task A_file_is_uploaded_as_it_is()
    {
        var file = Path.Combine(_directory, "app.tar");
        File.WriteAllText(file, "the archive");
        var received = "";
        OnImport(async body => received = await new StreamReader(body).ReadToEndAsync());

        var result = await _api.RavelAsync("image", "import", file);

        Assert.Equal((0, "the archive", ""), (result.ExitCode, received, Assert.Single(_api.Requests).Query));
    }

    [Theory]
    [InlineData("", "?image=db%3A2", ":db:2")]
    [InlineData("docker-archive:", "?image=db%3A2", ":db:2")]
    [InlineData("oci-archive:", "", "")]
    public async Task Names_as_skopeo_writes_them_say_which_image_of_the_file(string scheme, string query, string image)
    {
        var file = Path.Combine(_directory, "app:1.tar");
        File.WriteAllText(file, "the archive");
        OnImport(body => body.CopyToAsync(Stream.Null));

        var result = scheme.Length == 0
            ? await _api.RavelAsync("image", "import", file, "--image", image[1..])
            : await _api.RavelAsync("image", "import", $"{scheme}{file}{image}");

        Assert.Equal((0, query), (result.ExitCode, Assert.Single(_api.Requests).Query));
    }

    [Fact]
    public async Task An_image_named_twice_is_a_usage_error()
    {
        var file = Path.Combine(_directory, "app.tar");
        File.WriteAllText(file, "the archive");

        var result = await _api.RavelAsync("image", "import", $"docker-archive:{file}:db:2", "--image", "web");

        Assert.Equal(2, result.ExitCode);
        Assert.Contains("named twice", result.Error);
        Assert.Empty(_api.Requests);
    }

    [Theory]
    [InlineData("oci-archive")]
    [InlineData("docker-archive")]
    public async Task An_export_is_the_bytes_of_the_server(string format)
    {
        _api.On("GET /v1/images/export", http => http.Response.WriteAsync("the archive"));

        var file = Path.Combine(_directory, "out.tar");
        File.WriteAllText(file, "an older and longer archive");
        var toFile = await _api.RavelAsync("image", "export", "app:1", "-o", file, "--format", format);
        var toPipe = await _api.RavelAsync("image", "export", "app:1", "--format", format);

        Assert.Equal((0, "", "the archive"), (toFile.ExitCode, toFile.Output, File.ReadAllText(file)));
        Assert.Equal((0, "the archive"), (toPipe.ExitCode, toPipe.Output));
        Assert.All(_api.Requests, request => Assert.Equal($"?reference=app%3A1&format={format}", request.Query));
        Assert.Equal([file], Directory.GetFiles(_directory));
    }

    [Fact]
    public async Task An_export_that_breaks_off_leaves_what_was_there()
    {
        _api.On("GET /v1/images/export", async http =>
        {
            http.Response.ContentLength = 100;
            await http.Response.WriteAsync("the arch");
            await http.Response.Body.FlushAsync();
            http.Abort();
        });
        var file = Path.Combine(_directory, "out.tar");
        File.WriteAllText(file, "old");

        var result = await _api.RavelAsync("image", "export", "app:1", "-o", file);

        Assert.Equal((1, "old"), (result.ExitCode, File.ReadAllText(file)));
        Assert.Contains("broke off", result.Error);
        Assert.Equal([file], Directory.GetFiles(_directory));
    }

    [Fact]
    public async Task An_exported_layout_is_a_directory_with_nothing_else_in_it()
    {
        var blob = "blobs/sha256/" + new string('a', 64);
        var archive = new TarBuilder().File("oci-layout", "1").File("index.json", "2").File(blob, "3").ToArray();
        _api.On("GET /v1/images/export", http => http.Response.Body.WriteAsync(archive).AsTask());
        var layout = Path.Combine(_directory, "layout");
        Directory.CreateDirectory(layout);

        var result = await _api.RavelAsync("image", "export", "--format", "oci", "app:1", "-o", layout);
        var again = await _api.RavelAsync("image", "export", "--format", "oci", "app:1", "-o", layout);

        Assert.Equal(0, result.ExitCode);
        Assert.Equal("3", File.ReadAllText(Path.Combine(layout, blob)));
        Assert.Equal(2, again.ExitCode);
        Assert.Contains("is there already", again.Error);
    }

    [Theory]
    [InlineData("../escaped")]
    [InlineData("/tmp/ravel-escaped")]
    [InlineData("blobs/sha256/../../../escaped")]
    [InlineData("blobs/sha256/short")]
    public async Task A_servers_archive_cannot_write_elsewhere(string name)
    {
        _api.On("GET /v1/images/export", http => http.Response.Body.WriteAsync(new TarBuilder().File(name, "1").ToArray()).AsTask());

        var result = await _api.RavelAsync("image", "export", "--format", "oci", "app:1", "-o", Path.Combine(_directory, "layout"));

        Assert.Equal(1, result.ExitCode);
        Assert.Contains("a member that no layout has", result.Error);
        Assert.Empty(Directory.GetFileSystemEntries(_directory));
    }

    [Theory]
    [InlineData("is none of", "--format", "zip")]
    [InlineData("oci is a directory", "--format", "oci")]
    public async Task A_wrong_export_is_a_usage_error(string words, params string[] arguments)
    {
        var result = await _api.RavelAsync(["image", "export", "app:1", .. arguments]);

        Assert.Equal(2, result.ExitCode);
        Assert.Contains(words, result.Error);
    }

    [Fact]
    public async Task A_refused_import_says_why()
    {
        var file = Path.Combine(_directory, "app.tar");
        File.WriteAllText(file, "the archive");
        _api.OnProblem("POST /v1/images/import", ProblemCodes.ImageInvalid, "The archive has no index.json or manifest.json.");

        var result = await _api.RavelAsync("image", "import", file);

        Assert.Equal(1, result.ExitCode);
        Assert.EndsWith($"ravel: {file}: The archive has no index.json or manifest.json\n", result.Error);
    }

    [Fact]
    public async Task Ls_has_a_row_for_each_reference()
    {
        _api.OnJson("GET /v1/images", new ImageList([Sample]), ApiJson.Default.ImageList);

        var result = await _api.RavelAsync("image", "ls");

        var rows = result.Output.TrimEnd().Split('\n');
        Assert.Equal(["REFERENCE", "DIGEST", "CREATED", "USED", "MACHINES", "SIZE"], rows[0].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.StartsWith("nginx:1                0123456789ab   ", rows[1]);
        Assert.StartsWith("localhost:5000/app:2   0123456789ab   ", rows[2]);
        Assert.EndsWith("12.3MB", rows[1]);
    }

    [Fact]
    public async Task Inspect_prints_what_the_server_says_of_each()
    {
        var details = new ImageDetails
        {
            Image = Sample,
            RootfsDigest = "sha256:1",
            Layers = [new ImageLayer("sha256:2", 3)],
            Config = new ImageRunConfig { Cmd = ["nginx"], Labels = new Dictionary<string, string> { ["a"] = "b" } },
        };
        _api.OnJson("GET /v1/images/inspect", details, ApiJson.Default.ImageDetails);

        var result = await _api.RavelAsync("image", "inspect", "localhost:5000/app:2");

        Assert.Equal(0, result.ExitCode);
        var printed = JsonSerializer.Deserialize(result.Output, ApiJson.Default.IReadOnlyListImageDetails)!;
        Assert.Equivalent(details, Assert.Single(printed));
        Assert.Equal("?reference=localhost%3A5000%2Fapp%3A2", Assert.Single(_api.Requests).Query);
    }

    [Theory]
    [InlineData("Freed 12.3MB", """{"all":false,"dry_run":false}""")]
    [InlineData("Freed 12.3MB", """{"all":true,"dry_run":false}""", "-a")]
    [InlineData("Would free 12.3MB", """{"all":true,"dry_run":true}""", "--all", "--dry-run")]
    public async Task Prune_says_what_went_and_how_much_that_was(string last, string request, params string[] options)
    {
        _api.OnJson("POST /v1/images/prune", new PrunedImages([Sample], Sample.Size), ApiJson.Default.PrunedImages);

        var result = await _api.RavelAsync(["image", "prune", .. options]);

        Assert.Equal((0, $"nginx:1\nlocalhost:5000/app:2\n{Sample.Digest}\n{last}\n"), (result.ExitCode, result.Output));
        Assert.Equal(request, Assert.Single(_api.Requests).Body);
    }

    [Fact]
    public async Task Verify_names_the_damaged_one_and_what_to_do()
    {
        var other = Sample with { References = ["docker.io/library/redis:7"] };
        _api.OnLines(
            "POST /v1/images/verify",
            ApiJson.Default.VerifiedImage,
            new VerifiedImage { Image = Sample },
            new VerifiedImage { Image = other, Damage = "the root file system is sha256:1 instead of sha256:2" });

        var result = await _api.RavelAsync("image", "verify");

        Assert.Equal((1, "nginx:1 ok\nredis:7 the root file system is sha256:1 instead of sha256:2\n"), (result.ExitCode, result.Output));
        Assert.Equal("ravel: redis:7: damaged; the next start pulls it again, or do it now: ravel image pull\n", result.Error);
        Assert.Equal("{}", Assert.Single(_api.Requests).Body);
    }

    [Fact]
    public async Task Verify_of_whole_images_is_no_error()
    {
        _api.OnLines("POST /v1/images/verify", ApiJson.Default.VerifiedImage, new VerifiedImage { Image = Sample });

        var result = await _api.RavelAsync("image", "verify", "nginx:1", "--json");

        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        Assert.Equal(Sample.Digest, JsonSerializer.Deserialize(result.Output, ApiJson.Default.VerifiedImage)!.Image!.Digest);
        Assert.Equal("""{"reference":"nginx:1"}""", Assert.Single(_api.Requests).Body);
    }

    [Fact]
    public async Task Rm_keeps_the_slashes_of_a_reference()
    {
        _api.OnJson("DELETE /v1/images/localhost:5000/team/app:2", new RemovedImages(["localhost:5000/team/app:2"]), ApiJson.Default.RemovedImages);

        var result = await _api.RavelAsync("image", "rm", "localhost:5000/team/app:2");

        Assert.Equal((0, "localhost:5000/team/app:2\n"), (result.ExitCode, result.Output));
    }

    private void OnImport(Func<Stream, Task> read) => _api.On("POST /v1/images/import", async http =>
    {
        await read(http.Request.Body);
        await FakeApi.WriteAsync(http, Sample, ApiJson.Default.Image);
    });
}
