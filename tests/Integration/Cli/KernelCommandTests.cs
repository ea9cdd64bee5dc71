using System.Formats.Tar;
using Ravel.Contracts.Api;
using Ravel.Testing.Cli;

namespace Ravel.Integration.Cli;

public sealed class KernelCommandTests : IAsyncLifetime
{
    private static readonly Kernel Sample = new()
    {
        Digest = "sha256:" + new string('a', 64),
        Name = "small",
        Release = "6.1.0-small",
        Format = "elf",
        Size = 18_000_000,
        Modules = 0,
        Origin = "built",
        CreatedAt = DateTimeOffset.UnixEpoch,
        Default = true,
        Machines = 2,
    };

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-kernel-add-").FullName;
    private FakeApi _api = null!;

    public async ValueTask InitializeAsync() => _api = await FakeApi.StartAsync();

    public async ValueTask DisposeAsync()
    {
        await _api.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task Ls_marks_the_default_and_says_what_is_used()
    {
        _api.OnJson("GET /v1/kernels", new KernelList([Sample, Sample with { Name = "host", Default = false, Modules = 14 }]), ApiJson.Default.KernelList);

        var lines = (await _api.RavelAsync("kernel", "ls")).Output.Split('\n');

        Assert.StartsWith("NAME", lines[0], StringComparison.Ordinal);
        Assert.Matches(@"^small \* +6\.1\.0-small +a{12} +elf +0 +18\S* ?MB +built +2 +", lines[1]);
        Assert.Matches("^host +", lines[2]);
        Assert.Equal(Sample.Digest, (await _api.RavelAsync("kernel", "ls", "-q")).Output.Split('\n')[0]);
        Assert.Contains("\"default\": true", (await _api.RavelAsync("kernel", "ls", "--json")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_is_uploaded_as_it_is_and_a_directory_as_a_tar()
    {
        Directory.CreateDirectory(Path.Combine(_directory, "modules"));
        File.WriteAllText(Path.Combine(_directory, "vmlinuz"), "the kernel");
        File.WriteAllText(Path.Combine(_directory, "modules/erofs.ko"), "a module");
        var received = "";
        OnAdd(async body => received = await new StreamReader(body).ReadToEndAsync());
        var file = await _api.RavelAsync("kernel", "add", Path.Combine(_directory, "vmlinuz"), "--name", "small");
        Assert.Equal((0, $"small {Sample.Digest}\n", "the kernel"), (file.ExitCode, file.Output, received));
        Assert.Equal("?name=small", Assert.Single(_api.Requests).Query);

        var entries = new List<string>();
        OnAdd(async body =>
        {
            await using var tar = new TarReader(body);
            while (await tar.GetNextEntryAsync() is { } entry)
                entries.Add(entry.Name);
        });
        Assert.Equal(0, (await _api.RavelAsync("kernel", "add", _directory)).ExitCode);
        Assert.Equal(["modules/erofs.ko", "vmlinuz"], entries);
    }

    [Fact]
    public async Task A_directory_without_a_kernel_and_a_refusal_are_errors_with_a_remedy()
    {
        var empty = await _api.RavelAsync("kernel", "add", _directory);
        Assert.Equal((2, $"ravel: {_directory}: has no vmlinuz or vmlinux; give a directory with one (and modules/), or a kernel file\n"), (empty.ExitCode, empty.Error));

        _api.OnProblem("DELETE /v1/kernels/small", ProblemCodes.KernelInUse, "Kernel small is the default; choose another first, such as 'stock'.");
        var refused = await _api.RavelAsync("kernel", "rm", "small");
        Assert.Equal((1, "ravel: small: Kernel small is the default; choose another first, such as 'stock'\n"), (refused.ExitCode, refused.Error));
    }

    [Fact]
    public async Task A_build_says_its_phases_on_stderr_and_the_kernel_on_stdout()
    {
        _api.OnLines(
            "POST /v1/kernels/build",
            ApiJson.Default.KernelProgress,
            new KernelProgress { Phase = "source" },
            new KernelProgress { Phase = "compile", Done = 1, Total = 2 },
            new KernelProgress { Phase = "compile", Done = 2, Total = 2 },
            new KernelProgress { Kernel = Sample });
        var built = await _api.RavelAsync("kernel", "build");
        Assert.Equal((0, $"small {Sample.Digest}\n"), (built.ExitCode, built.Output));
        Assert.Equal("downloading the kernel's source…\ncompiling (about ten minutes of two cores)…\n", built.Error);
        Assert.Equal(4, (await _api.RavelAsync("kernel", "build", "--json")).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);

        _api.OnLines("POST /v1/kernels/build", ApiJson.Default.KernelProgress, new KernelProgress { Phase = "source" });
        var cut = await _api.RavelAsync("kernel", "build");
        Assert.Equal(1, cut.ExitCode);
        Assert.EndsWith("the server broke off before the kernel was there; run it again: it goes on where it was\n", cut.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_default_is_chosen_by_name()
    {
        _api.OnJson("PUT /v1/kernels/default", Sample, ApiJson.Default.Kernel);
        Assert.Equal($"small {Sample.Digest}\n", (await _api.RavelAsync("kernel", "default", "small")).Output);
        Assert.Equal("""{"kernel":"small"}""", Assert.Single(_api.Requests).Body);
    }

    private void OnAdd(Func<Stream, Task> read) => _api.On("POST /v1/kernels", async http =>
    {
        await read(http.Request.Body);
        await FakeApi.WriteAsync(http, Sample, ApiJson.Default.Kernel);
    });
}
