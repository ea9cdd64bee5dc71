using Ravel.EndToEnd.Path;
using Ravel.Linux.Processes;
using Ravel.Testing.EndToEnd;
using Ravel.Testing.Images;
using Ravel.Testing.Needs;

namespace Ravel.EndToEnd.Docker;

/// <summary><c>ravel run IMAGE</c> does what <c>podman run IMAGE</c> does, but for what docs/docker.md says.</summary>
[Collection(nameof(OneHost))]
public sealed class DifferentialTests(OneHost one) : IAsyncLifetime
{
    private readonly RavelHost _host = one.Host;
    private readonly string _work = System.IO.Path.Combine(one.Host.Scratch, "docker");
    private Podman _podman = null!;
    private SideBySide _both = null!;

    public ValueTask InitializeAsync()
    {
        Need.Program("podman");
        Need.Program("runc");
        Need.Program("busybox");
        _podman = new Podman(System.IO.Path.Combine(_work, "podman"));
        _both = new SideBySide(_host, one.Images, _podman);
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync() => _podman.DisposeAsync();

    [Fact]
    public async Task Every_image_runs_as_with_podman_but_for_the_known_differences()
    {
        await MakeAsync(ImageCase.All);
        await AtOnceAsync(ImageCase.All, image =>
            _both.FactsAsync(image.Name, image.Options, image.ExitCode, [.. image.Program ?? ["/bin/busybox", "sh"], "-c", image.Script]));
        await AtOnceAsync(SoftwareCase.All, async image =>
        {
            await _both.TakeAsync(await image.Recipe.BuildAsync(), image.Name);
            await _both.FactsAsync(image.Name, ["--entrypoint", image.Busybox], 3, "sh", "-c", ImageCase.FactsAndExit(3));
            foreach (var command in image.Commands.Take(2))
                await _both.OutputAsync(image.Name, [], command);
        });
        await RefusalsAsync("busybox");
        Assert.True(_both.Unexpected.Count == 0, string.Join('\n', _both.Unexpected));
        Assert.Equal([], _both.NotSeen);
        TestContext.Current.TestOutputHelper!.WriteLine($"{ImageCase.All.Count} cases and {SoftwareCase.All.Count} images, {_both.Facts} facts");
    }

    [Fact]
    public async Task Signals_and_stops_are_as_with_podman() =>
        await SignalsAsync(SoftwareCase.All.Where(image => image.Name is "nginx" or "python"));

    [Fact(Explicit = true)]
    [Trait("Kind", "Soak")]
    public async Task Every_image_runs_as_with_podman_whatever_is_asked()
    {
        string[][] options =
        [
            ["--user", "0"], ["--user", "4242:4343"], ["--user", "33"], ["--workdir", "/made/here"], ["--workdir", "/tmp", "--user", "1:2"], ["-e", "PATH=/busybox-only", "-e", "EMPTY="],
        ];
        await AtOnceAsync(SoftwareCase.All, async image =>
        {
            await _both.TakeAsync(await image.Recipe.BuildAsync(), image.Name);
            foreach (var asked in options)
                await _both.FactsAsync(image.Name, ["--entrypoint", image.Busybox, .. asked], 99, "sh", "-c", ImageCase.FactsAndExit(99));
            foreach (var command in image.Commands)
                await _both.OutputAsync(image.Name, [], command);
            foreach (var code in (int[])[0, 1, 2, 125, 126, 127, 128, 255, 256])
                await _both.OutputAsync(image.Name, ["--entrypoint", image.Busybox], "sh", "-c", $"exit {code}");
            foreach (var signal in (int[])[1, 2, 3, 6, 9, 11, 13, 15, 31])
                await _both.OutputAsync(image.Name, ["--entrypoint", image.Busybox], "sh", "-c", $"{image.Busybox} sh -c 'kill -{signal} $$'; exit $?");
            await RefusalsAsync(image.Name);
        });
        await SignalsAsync(SoftwareCase.All, isTaken: true);
        TestContext.Current.TestOutputHelper!.WriteLine($"{SoftwareCase.All.Count} images, {_both.Facts} facts");
    }

    private async Task SignalsAsync(IEnumerable<SoftwareCase> images, bool isTaken = false)
    {
        await AtOnceAsync(images, async image =>
        {
            if (!isTaken)
                await _both.TakeAsync(await image.Recipe.BuildAsync(), image.Name);
            if (image.Serves is { } words)
                await _both.StopAsync(image.Name, words, null);
            if (image.Signalled is { } command)
                await _both.StopAsync(image.Name, "ready\n", "USR1", command);
        });
        Assert.True(_both.Unexpected.Count == 0, string.Join('\n', _both.Unexpected));
    }

    /// <summary>Two at a time: more only wait for each other.</summary>
    private static Task AtOnceAsync<T>(IEnumerable<T> cases, Func<T, Task> runAsync) =>
        Parallel.ForEachAsync(cases, new ParallelOptions { MaxDegreeOfParallelism = 2 }, async (one, _) => await runAsync(one));

    private async Task RefusalsAsync(string image)
    {
        await _both.RefusalAsync("exit code: a command that is not there", image, ["--entrypoint", "no-such-program"]);
        await _both.RefusalAsync("exit code: a directory as command", image, ["--entrypoint", "/proc"]);
        await _both.RefusalAsync("exit code: a file that is no program", image, ["--entrypoint", "/proc/self/status"]);
        await _both.RefusalAsync("exit code: a user that is not there", image, ["--user", "no-such-user"]);
        await _both.RefusalAsync("exit code: a directory that is a file", image, ["--workdir", "/proc/version"]);
        await _both.RefusalAsync("exit code: an option that is not there", image, ["--no-such-option"]);
    }

    /// <summary>Makes the images of some cases and gives them to podman and to the registry.</summary>
    private async Task MakeAsync(IReadOnlyList<ImageCase> images)
    {
        var bases = new Dictionary<string, OciLayout>
        {
            ["accounts"] = await CopyAsync(await TestImages.BusyboxAsync(), "accounts"),
            ["scratch"] = new OciLayout(System.IO.Path.Combine(_work, "scratch")),
        };
        await CommandRunner.RunAsync("rm", ["-rf", "--", bases["scratch"].Directory]);
        await UmociAsync("init", "--layout", bases["scratch"].Directory);
        await UmociAsync("new", "--image", Image(bases["scratch"]));
        await UmociAsync("insert", "--image", Image(bases["scratch"]), Need.FindProgram("busybox")!, "/busybox");
        var etc = Directory.CreateDirectory(System.IO.Path.Combine(_work, "etc")).FullName;
        await File.WriteAllTextAsync(System.IO.Path.Combine(etc, "passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:App:/home/app:/bin/sh\n");
        await File.WriteAllTextAsync(System.IO.Path.Combine(etc, "group"), "root:x:0:\napp:x:1000:\nextra:x:2000:app,other\nwheel:x:10:root,app\n");
        foreach (var file in (string[])["passwd", "group"])
            await UmociAsync("insert", "--image", Image(bases["accounts"]), System.IO.Path.Combine(etc, file), $"/etc/{file}");
        foreach (var image in images)
        {
            var layout = bases[image.Base];
            await UmociAsync(["config", "--image", Image(layout), "--tag", image.Name, .. image.Config]);
            await _both.TakeAsync(layout with { Tag = image.Name }, image.Name);
        }
    }

    private async Task<OciLayout> CopyAsync(OciLayout image, string name)
    {
        var copy = System.IO.Path.Combine(_work, name);
        await CommandRunner.RunAsync("rm", ["-rf", "--", copy]);
        await CommandRunner.RunCheckedAsync("cp", ["-a", image.Directory, copy]);
        return image with { Directory = copy };
    }

    private static string Image(OciLayout layout) => $"{layout.Directory}:{layout.Tag}";

    private static Task<string> UmociAsync(params string[] arguments) => CommandRunner.RunCheckedAsync("umoci", arguments);
}
