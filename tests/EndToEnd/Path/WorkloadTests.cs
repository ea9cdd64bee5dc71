using System.Diagnostics;
using System.Security.Cryptography;
using Ravel.Linux.Processes;
using Ravel.Testing.EndToEnd;
using Ravel.Testing.Needs;

namespace Ravel.EndToEnd.Path;

/// <summary>What goes into a workload and comes out of it: input, terminals, floods of output, files, and its end.</summary>
[Collection(nameof(OneHost))]
public sealed class WorkloadTests(OneHost one)
{
    private readonly RavelHost _host = one.Host;

    [Fact]
    public async Task Input_arrives_whole_and_a_burst_of_lines_comes_complete_and_in_order()
    {
        const int Lines = 200_000;
        var input = string.Concat(Enumerable.Range(0, 200_000).Select(i => $"{i} "));
        var result = await _host.RavelAsync(
            ["run", "-i", "--rm", one.Busybox, "sh", "-c", $"sha256sum; seq 1 {Lines}; echo last >&2"], _host.DataDirectory, input, TimeSpan.FromMinutes(4));

        Assert.Equal(0, result.ExitCode);
        var digest = Convert.ToHexStringLower(SHA256.HashData(System.Text.Encoding.ASCII.GetBytes(input)));
        Assert.Equal($"{digest}  -\n" + string.Concat(Enumerable.Range(1, Lines).Select(i => $"{i}\n")), result.Output);
        Assert.EndsWith("last\n", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_workload_at_a_terminal_sees_its_size_and_ends_with_its_code()
    {
        Need.Program("script");
        var shell = $"stty rows 33 cols 111; {RavelHost.Binaries}/ravel run -it --rm {one.Busybox} sh; echo code=$?";
        await using var terminal = _host.Start("env", [$"RAVEL_DATA={_host.DataDirectory}", "script", "-qec", shell, "/dev/null"]);
        // Typed ahead, as one may.
        await terminal.Input.WriteAsync("tty; echo term=$TERM; stty size; exit 5\r");
        await terminal.Input.FlushAsync();
        var seen = new List<string>();
        while (seen.Count == 0 || !seen[^1].Contains("code=", StringComparison.Ordinal))
            seen.Add((await terminal.ReadLineAsync(TimeSpan.FromMinutes(2))).TrimEnd('\r'));
        Assert.Contains("/dev/pts/0", seen);
        Assert.Contains("term=xterm", seen);
        Assert.Contains("33 111", seen);
        Assert.Equal("code=5", seen[^1]);
    }

    [Fact]
    public async Task Files_go_in_and_out_as_they_are() => await CopyAsync("copies", 64);

    [Fact(Explicit = true)]
    [Trait("Kind", "Soak")]
    public async Task A_gibibyte_goes_in_and_out_as_it_is() => await CopyAsync("copies-much", 1024);

    [Fact]
    public Task Commands_beside_the_workload_all_print_what_they_say_and_end_as_they_do() => ExecAsync("beside", 12);

    [Fact(Explicit = true)]
    [Trait("Kind", "Soak")]
    public Task A_hundred_commands_beside_the_workload_all_print_what_they_say_and_end_as_they_do() => ExecAsync("beside-many", 100);

    private async Task ExecAsync(string name, int count)
    {
        await _host.RunDetachedAsync("--name", name, one.Busybox, "sleep", "100000");
        // None ends before all have begun, so that they are there at once.
        var script = $"echo > /began-$0; while [ $(ls /began-* | wc -l) -lt {count} ]; do sleep 0.2; done; seq $0 $(($0 + 500)); cat >&2; exit $0";
        var results = await Task.WhenAll(Enumerable.Range(1, count).Select(i =>
            _host.RavelAsync(["exec", "-i", name, "sh", "-c", script, $"{i}"], _host.DataDirectory, $"input of {i}\n", TimeSpan.FromMinutes(10))));
        for (var i = 1; i <= count; i++)
        {
            var (result, first) = (results[i - 1], i);
            Assert.True(result.ExitCode == i && result.Error == $"input of {i}\n", $"{i}: {result.ExitCode} {result.Error}");
            Assert.Equal(string.Concat(Enumerable.Range(first, 501).Select(n => $"{n}\n")), result.Output);
        }
        await _host.RavelOkAsync("rm", "-f", name);
    }

    [Fact]
    public async Task A_workload_that_runs_out_of_memory_is_reported_as_that_and_another_kill_is_not()
    {
        var hungry = await _host.RavelAsync("run", "--rm", "--memory", "96m", one.Busybox, "sh", "-c", "tail /dev/zero");
        Assert.Equal(137, hungry.ExitCode);
        Assert.Contains("out of memory", hungry.Error, StringComparison.Ordinal);

        var killed = await _host.RavelAsync("run", "--rm", one.Busybox, "sh", "-c", "kill -9 $$");
        Assert.Equal(137, killed.ExitCode);
        Assert.DoesNotContain("memory", killed.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stop_while_booting_lets_the_workload_end_or_never_begin()
    {
        // Of a size nobody else has: there is no template to start it from, so that the stop mostly comes while it boots.
        await _host.RavelOkAsync("create", "--name", "early", "--memory", "300m", one.Busybox, "sh", "-c", "trap 'echo bye; exit 0' TERM; echo begun; while :; do sleep 0.1; done");
        await using (_host.StartRavel("start", "early"))
        {
            var began = Stopwatch.GetTimestamp();
            while ((await _host.InspectAsync("early")).State is var state && state is not ("starting" or "started"))
                Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(30), $"30 s after its start it is {state}");
            await _host.RavelOkAsync("stop", "early");
        }
        var stopped = await _host.InspectAsync("early");
        Assert.Equal("stopped", stopped.State);
        var log = await _host.RavelOkAsync("logs", "early");
        if (log.Length > 0)
        {
            // It had begun: it was told, and ended as it wants to.
            Assert.Equal(0, stopped.Exit?.ExitCode);
            Assert.EndsWith("bye\n", log, StringComparison.Ordinal);
        }
        else
        {
            Assert.True(stopped.Exit is null or { ExitCode: 0 or 143 }, $"{stopped.Exit}");
        }
        await _host.RavelOkAsync("rm", "early");
    }

    private async Task CopyAsync(string name, int mebibytes)
    {
        var directory = Directory.CreateDirectory(System.IO.Path.Combine(_host.Scratch, name)).FullName;
        var file = System.IO.Path.Combine(directory, "data");
        await CommandRunner.RunCheckedAsync("sh", ["-c", $"head -c {mebibytes}M /dev/urandom > '{file}'"]);
        var digest = (await CommandRunner.RunCheckedAsync("sha256sum", [file])).Split(' ')[0];
        await _host.RunDetachedAsync("--name", name, "--disk", $"{(mebibytes * 2) + 512}m", one.Busybox, "sleep", "100000");

        var limit = TimeSpan.FromMinutes(20);
        foreach (string[] command in (string[][])[["cp", file, $"{name}:/data"], ["cp", $"{name}:/data", file + ".back"]])
        {
            var copied = await _host.RavelAsync(command, _host.DataDirectory, timeout: limit);
            Assert.True(copied.ExitCode == 0, copied.Error);
        }
        Assert.StartsWith(digest, (await _host.RavelAsync(["exec", name, "sha256sum", "/data"], _host.DataDirectory, timeout: limit)).Output, StringComparison.Ordinal);
        Assert.StartsWith(digest, await CommandRunner.RunCheckedAsync("sha256sum", [file + ".back"]), StringComparison.Ordinal);
        await _host.RavelOkAsync("rm", "-f", name);
        Directory.Delete(directory, recursive: true);
    }
}
