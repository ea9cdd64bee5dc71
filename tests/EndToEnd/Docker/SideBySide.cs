using System.Collections.Concurrent;
using Ravel.Linux.Processes;
using Ravel.Testing.EndToEnd;
using Ravel.Testing.Images;

namespace Ravel.EndToEnd.Docker;

/// <summary>Runs the same words with podman and with ravel, and keeps what differs.</summary>
internal sealed class SideBySide(RavelHost host, HostImages images, Podman podman)
{
    private readonly ConcurrentDictionary<string, bool> _differing = new();
    private readonly ConcurrentQueue<string> _unexpected = new();
    private int _facts;

    /// <summary>How many facts were compared.</summary>
    public int Facts => _facts;

    /// <summary>What differs and is not in the table; or is compared by nothing but its words.</summary>
    public IReadOnlyCollection<string> Unexpected => _unexpected;

    /// <summary>Rows of the table that nothing has shown.</summary>
    public IEnumerable<string> NotSeen => KnownDifferences.Why.Keys.Except(_differing.Keys);

    public string Reference(string image) => $"{images.Registry}/docker/{image}:1";

    /// <summary>Gives an image to podman and, pulled, to ravel.</summary>
    public async Task TakeAsync(OciLayout layout, string image)
    {
        await podman.LoadAsync(layout, $"{image}:1");
        await images.PushAsync(layout, $"docker/{image}:1");
        await host.RavelOkAsync("pull", Reference(image));
    }

    /// <summary><c>run --rm</c> with both.</summary>
    public async Task<(CommandResult Ours, CommandResult Theirs)> RunAsync(string image, IReadOnlyList<string> options, params string[] command)
    {
        var theirs = await podman.RunAsync([.. options, $"localhost/{image}:1", .. command]);
        var ours = await host.RavelAsync(["run", "--rm", .. options, Reference(image), .. command], host.DataDirectory, timeout: TimeSpan.FromMinutes(3));
        return (ours, theirs);
    }

    /// <summary>Compares lines FACT=VALUE of a script that ends with <c>to-stderr</c> on standard error.</summary>
    public async Task FactsAsync(string image, IReadOnlyList<string> options, int exitCode, params string[] command)
    {
        var (ours, theirs) = await RunAsync(image, options, command);
        if (ours.ExitCode != exitCode || theirs.ExitCode != exitCode)
            _unexpected.Enqueue($"{image}: exit code {ours.ExitCode}, with podman {theirs.ExitCode}: {ours.Error}{theirs.Error}");
        if (!ours.Error.EndsWith("to-stderr\n", StringComparison.Ordinal) || !theirs.Error.EndsWith("to-stderr\n", StringComparison.Ordinal))
            _unexpected.Enqueue($"{image}: standard error: '{ours.Error}', with podman '{theirs.Error}'");
        var (mine, other) = (Parse(ours.Output), Parse(theirs.Output));
        foreach (var fact in mine.Keys.Union(other.Keys))
            Compare(image, fact, mine.GetValueOrDefault(fact), other.GetValueOrDefault(fact));
    }

    /// <summary>Compares the exit code and every byte of what a command prints.</summary>
    public async Task OutputAsync(string image, IReadOnlyList<string> options, params string[] command)
    {
        var (ours, theirs) = await RunAsync(image, options, command);
        var words = $"{image} {string.Join(' ', options.Concat(command))}";
        Compare(words, "output", ours.Output, theirs.Output);
        Compare(words, "standard error", ours.Error, theirs.Error);
        Compare(words, "exit code", $"{ours.ExitCode}", $"{theirs.ExitCode}");
    }

    /// <summary>Compares the exit code of a run that is refused, each in its own words.</summary>
    public async Task RefusalAsync(string fact, string image, IReadOnlyList<string> options, params string[] command)
    {
        var (ours, theirs) = await RunAsync(image, options, command);
        Compare(image, fact, $"{ours.ExitCode}", $"{theirs.ExitCode}");
        if (ours.Error.Length == 0)
            _unexpected.Enqueue($"{image}: {fact}: refused without a word");
    }

    /// <summary>Starts a command with both, waits for a line, sends a signal after which another is there, and stops it.</summary>
    /// <param name="image">That runs.</param>
    /// <param name="ready">What it prints when it can be signalled; empty: the end of its output is not compared either.</param>
    /// <param name="signal">Sent first, and answered with a line; null for none.</param>
    /// <param name="command">Empty for the image's own.</param>
    public async Task StopAsync(string image, string ready, string? signal, params string[] command)
    {
        var container = await podman.StartAsync([$"localhost/{image}:1", .. command]);
        var machine = $"stops-{image}";
        await host.RunDetachedAsync(["--name", machine, Reference(image), .. command]);
        try
        {
            Task<string> TheirsAsync() => podman.LogsAsync(container);
            async Task<string> OursAsync()
            {
                var logs = await host.RavelAsync("logs", machine);
                return logs.Output + logs.Error;
            }

            var theirs = await UntilAsync(TheirsAsync, ready);
            var ours = await UntilAsync(OursAsync, ready);
            if (signal is not null)
            {
                await podman.OkAsync("kill", "--signal", signal, container);
                await host.RavelOkAsync("kill", "--signal", signal, machine);
                theirs = await UntilAsync(TheirsAsync, "got " + signal);
                ours = await UntilAsync(OursAsync, "got " + signal);
                Compare(image, "output at " + signal, ours, theirs);
            }
            await podman.OkAsync("stop", container);
            await host.RavelOkAsync("stop", machine);
            Compare(image, "exit code of a stop", $"{(await host.InspectAsync(machine)).Exit!.ExitCode}", (await podman.OkAsync("inspect", "--format", "{{.State.ExitCode}}", container)).Trim());
            if (signal is not null)
                Compare(image, "output after a stop", await OursAsync(), await TheirsAsync());
        }
        finally
        {
            await host.RavelOkAsync("rm", "-f", machine);
            await podman.OkAsync("rm", "--force", "--time", "0", container);
        }
    }

    public void Compare(string image, string fact, string? ours, string? theirs)
    {
        Interlocked.Increment(ref _facts);
        if (ours == theirs)
            return;
        _differing[fact] = true;
        if (!KnownDifferences.Why.ContainsKey(fact))
            _unexpected.Enqueue($"{image}: {fact}: '{ours}', with podman '{theirs}'");
    }

    private static Dictionary<string, string> Parse(string output) => output
        .Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Select(line => line.Split('=', 2))
        .Where(parts => parts.Length == 2)
        .ToDictionary(parts => parts[0], parts => parts[1].Trim());

    private static async Task<string> UntilAsync(Func<Task<string>> read, string expected)
    {
        for (var attempt = 0; ; attempt++)
        {
            var seen = await read();
            if (seen.Contains(expected, StringComparison.Ordinal))
                return seen;
            if (attempt == 200)
                throw new InvalidOperationException($"'{expected}' never came: '{seen}'");
            await Task.Delay(200);
        }
    }
}
