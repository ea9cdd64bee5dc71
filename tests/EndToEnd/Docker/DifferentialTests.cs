using System.Collections.Concurrent;
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

    public ValueTask InitializeAsync()
    {
        Need.Program("podman");
        Need.Program("runc");
        Need.Program("busybox");
        _podman = new Podman(System.IO.Path.Combine(_work, "podman"));
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync() => _podman.DisposeAsync();

    [Fact]
    public async Task Every_image_runs_as_with_podman_but_for_the_known_differences()
    {
        await MakeAsync(ImageCase.All);
        var differences = new ConcurrentDictionary<string, bool>();
        var unexpected = new ConcurrentQueue<string>();
        // Two machines at a time: more only wait for each other.
        await Parallel.ForEachAsync(ImageCase.All, new ParallelOptions { MaxDegreeOfParallelism = 2 }, async (image, _) =>
        {
            string[] command = [.. image.Options, Reference(image), .. image.Program ?? ["/bin/busybox", "sh"], "-c", image.Script];
            var theirs = await _podman.RunAsync(Replace(command, Reference(image), $"localhost/{image.Name}:1"));
            var ours = await _host.RavelAsync(["run", "--rm", .. command], _host.DataDirectory, timeout: TimeSpan.FromMinutes(3));
            if (ours.ExitCode != image.ExitCode || theirs.ExitCode != image.ExitCode)
                unexpected.Enqueue($"{image.Name}: exit code {ours.ExitCode}, with podman {theirs.ExitCode}: {ours.Error}{theirs.Error}");
            if (!ours.Error.EndsWith("to-stderr\n", StringComparison.Ordinal) || !theirs.Error.EndsWith("to-stderr\n", StringComparison.Ordinal))
                unexpected.Enqueue($"{image.Name}: standard error: '{ours.Error}', with podman '{theirs.Error}'");
            var (mine, other) = (Facts(ours.Output), Facts(theirs.Output));
            foreach (var fact in mine.Keys.Union(other.Keys))
            {
                var (a, b) = (mine.GetValueOrDefault(fact), other.GetValueOrDefault(fact));
                if (a == b)
                    continue;
                differences[fact] = true;
                if (!KnownDifferences.Why.ContainsKey(fact))
                    unexpected.Enqueue($"{image.Name}: {fact}: '{a}', with podman '{b}'");
            }
        });
        foreach (var fact in KnownDifferences.Why.Keys.Except(differences.Keys))
            unexpected.Enqueue($"{fact}: in the table, but not seen to differ");
        Assert.True(unexpected.IsEmpty, string.Join('\n', unexpected));
    }

    [Fact]
    public async Task Refusals_and_signals_end_as_with_podman()
    {
        var image = ImageCase.All[0];
        await MakeAsync([image]);
        foreach (var (program, code) in ((string, int)[])[("no-such-program", 127), ("/etc/passwd", 126)])
        {
            var theirs = await _podman.RunAsync($"localhost/{image.Name}:1", program);
            var ours = await _host.RavelAsync("run", "--rm", Reference(image), program);
            Assert.Equal((code, code), (theirs.ExitCode, ours.ExitCode));
        }

        string[] script = ["sh", "-c", "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.1; done"];
        var container = await _podman.StartAsync([$"localhost/{image.Name}:1", .. script]);
        await UntilAsync(async () => await _podman.OkAsync("logs", container), "ready\n");
        await _podman.OkAsync("kill", "--signal", "USR1", container);
        await UntilAsync(async () => await _podman.OkAsync("logs", container), "ready\nusr1\n");
        await _podman.OkAsync("stop", container);
        var ended = await _podman.OkAsync("inspect", "--format", "{{.State.ExitCode}}", container);

        await _host.RunDetachedAsync(["--name", "signals", Reference(image), .. script]);
        try
        {
            await UntilAsync(() => _host.RavelOkAsync("logs", "signals"), "ready\n");
            await _host.RavelOkAsync("kill", "--signal", "USR1", "signals");
            await UntilAsync(() => _host.RavelOkAsync("logs", "signals"), "ready\nusr1\n");
            await _host.RavelOkAsync("stop", "signals");
            Assert.Equal(await _podman.OkAsync("logs", container), await _host.RavelOkAsync("logs", "signals"));
            Assert.Equal(ended.Trim(), (await _host.InspectAsync("signals")).Exit!.ExitCode.ToString());
        }
        finally
        {
            await _host.RavelOkAsync("rm", "-f", "signals");
        }
    }

    private string Reference(ImageCase image) => $"{one.Images.Registry}/docker/{image.Name}:1";

    private static string[] Replace(string[] words, string from, string to) => [.. words.Select(word => word == from ? to : word)];

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
            var made = layout with { Tag = image.Name };
            await _podman.LoadAsync(made, $"{image.Name}:1");
            await one.Images.PushAsync(made, $"docker/{image.Name}:1");
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

    private static Dictionary<string, string> Facts(string output) => output
        .Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Select(line => line.Split('=', 2))
        .Where(parts => parts.Length == 2)
        .ToDictionary(parts => parts[0], parts => parts[1].Trim());

    private static async Task UntilAsync(Func<Task<string>> read, string expected)
    {
        for (var attempt = 0; ; attempt++)
        {
            var seen = await read();
            if (seen == expected)
                return;
            if (attempt == 100)
                throw new InvalidOperationException($"'{seen}' never became '{expected}'");
            await Task.Delay(300);
        }
    }
}
