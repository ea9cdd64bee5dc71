using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Testing.EndToEnd;

/// <summary>
/// podman with a store of its own, gone with it: the oracle for what a container engine does with an image. It runs without a network,
/// under runc and with limits set by hand, because that is what works as root on any host, nested or not.
/// </summary>
public sealed class Podman : IAsyncDisposable
{
    private static readonly string[] RunFlags =
        ["--network=none", "--pull=never", "--ulimit", "nofile=1024:4096", "--ulimit", "nproc=1000:1000"];

    private readonly string _directory;

    public Podman(string directory) => _directory = Directory.CreateDirectory(directory).FullName;

    /// <summary>Takes an image in under a name.</summary>
    public async Task LoadAsync(OciLayout image, string name)
    {
        // Not from the layout itself: podman makes a name of its path, which may have capitals.
        var archive = Path.Combine(_directory, Path.GetRandomFileName() + ".tar");
        await CommandRunner.RunCheckedAsync("skopeo", ["copy", "--quiet", image.ToString(), $"docker-archive:{archive}:localhost/{name}"]);
        await OkAsync("load", "--quiet", "--input", archive);
        File.Delete(archive);
    }

    /// <summary><c>podman run --rm</c> with these options, image and command.</summary>
    public Task<CommandResult> RunAsync(params string[] arguments) => PodmanAsync(["run", "--rm", .. RunFlags, .. arguments]);

    /// <summary><c>podman run -d</c>; returns the container's id.</summary>
    public async Task<string> StartAsync(params string[] arguments) => (await OkAsync(["run", "-d", .. RunFlags, .. arguments])).Trim();

    public async Task<string> OkAsync(params string[] arguments)
    {
        var result = await PodmanAsync(arguments);
        return result.ExitCode == 0
            ? result.Output
            : throw new InvalidOperationException($"podman {string.Join(' ', arguments)} failed with {result.ExitCode}: {result.Error}");
    }

    /// <summary>What a container has written to its output, and then to its standard error.</summary>
    public async Task<string> LogsAsync(string container)
    {
        var result = await PodmanAsync(["logs", container]);
        return result.ExitCode == 0 ? result.Output + result.Error : throw new InvalidOperationException($"podman logs failed with {result.ExitCode}: {result.Error}");
    }

    public async ValueTask DisposeAsync()
    {
        await PodmanAsync(["rm", "--all", "--force", "--time", "0"]);
        // Its store has mounts that only it knows of.
        await PodmanAsync(["unmount", "--all"]);
        // Every container had a copy of its image.
        await CommandRunner.RunAsync("rm", ["-rf", "--", _directory], timeout: TimeSpan.FromMinutes(3));
    }

    private Task<CommandResult> PodmanAsync(IReadOnlyList<string> arguments) => CommandRunner.RunAsync(
        "podman",
        [
            "--root", Path.Combine(_directory, "root"), "--runroot", Path.Combine(_directory, "run"), "--tmpdir", Path.Combine(_directory, "tmp"),
            "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "runc", "--events-backend", "none", .. arguments,
        ],
        timeout: TimeSpan.FromMinutes(3));
}
