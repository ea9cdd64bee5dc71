using System.Globalization;
using Ravel.Testing.EndToEnd;

namespace Ravel.EndToEnd.Path;

/// <summary>The daemon dies; machines do not.</summary>
[Collection(nameof(OneHost))]
public sealed class CrashTests(OneHost one)
{
    private readonly RavelHost _host = one.Host;

    [Fact]
    public async Task A_machine_outlives_a_killed_daemon_and_is_adopted_without_losing_a_line()
    {
        await _host.RunDetachedAsync("--name", "survivor", "-p", "18090:80", one.Nginx);
        await _host.RunDetachedAsync(
            "--name", "counting", one.Busybox, "sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; usleep 20000; done; sleep 600");
        await _host.FetchUntilAsync("http://127.0.0.1:18090/");
        var before = await _host.InspectAsync("survivor");

        await _host.KillDaemonAsync();
        Assert.Equal(0, (await _host.FetchAsync("http://127.0.0.1:18090/")).ExitCode);
        Assert.NotEqual(0, (await _host.RavelAsync("ps")).ExitCode);

        await _host.UpAsync();
        Assert.Equal(0, (await _host.FetchAsync("http://127.0.0.1:18090/")).ExitCode);
        var after = await _host.InspectAsync("survivor");
        Assert.Equal("started", after.State);
        Assert.Equal(before.InstanceId, after.InstanceId);
        Assert.Contains("survivor", await _host.RavelOkAsync("ps"), StringComparison.Ordinal);
        Assert.Equal("still here\n", await _host.RavelOkAsync("exec", "survivor", "echo", "still here"));
        Assert.Contains("GET / HTTP", await _host.RavelOkAsync("logs", "survivor"), StringComparison.Ordinal);

        // Killed once more while a burst is under way: every number exactly once, in order.
        await _host.KillDaemonAsync();
        await _host.UpAsync();
        await _host.RavelOkAsync("exec", "counting", "sh", "-c", "sleep 2");
        var numbers = (await _host.RavelOkAsync("logs", "counting")).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => int.Parse(line, CultureInfo.InvariantCulture)).ToList();
        Assert.True(numbers.Count > 50, $"only {numbers.Count} lines");
        Assert.Equal(Enumerable.Range(1, numbers.Count), numbers);

        await _host.RavelOkAsync("stop", "-t", "1", "survivor", "counting");
        Assert.Equal("stopped", (await _host.InspectAsync("survivor")).State);
        await _host.RavelOkAsync("rm", "survivor", "counting");
    }

    [Fact]
    public async Task A_killed_daemon_leaves_nothing_in_the_temporary_directory()
    {
        var data = _host.AddDataDirectory("bare");
        // Not by `ravel up`: as a unit starts it, with nothing in its environment.
        await using (_host.Start(
            "env", ["-u", "DOTNET_EnableDiagnostics", System.IO.Path.Combine(RavelHost.Binaries, "raveld"), "run", "--data", data, "--listen", "127.0.0.1:0"]))
        {
            while ((await _host.RavelAsync(["info"], data)).ExitCode != 0)
                await Task.Delay(100, TestContext.Current.CancellationToken);
        }

        var pid = _host.Client(data).Pid;
        Assert.Empty(Directory.EnumerateFileSystemEntries(System.IO.Path.GetTempPath(), $"*-{pid}-*"));
    }

    [Fact]
    public async Task An_established_connection_goes_on_through_a_killed_daemon_and_its_return()
    {
        const string Count = "i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done";
        await _host.RunDetachedAsync("--name", "talker", "-p", "18092:7000", one.Busybox, "sh", "-c", $"echo '{Count}' > /count; nc -ll -p 7000 -e sh /count & {Count}");
        await _host.RavelOkAsync("exec", "talker", "sh", "-c", "until netstat -ltn | grep -q :7000; do usleep 50000; done");
        await using var client = _host.Start("busybox", ["nc", "127.0.0.1", "18092"]);
        var next = 0;
        async Task ReadAsync(int lines)
        {
            for (var i = 0; i < lines; i++)
                Assert.Equal($"{++next}", await client.ReadLineAsync());
        }

        await ReadAsync(20);
        for (var kill = 0; kill < 2; kill++)
        {
            await _host.KillDaemonAsync();
            await ReadAsync(60);
            var up = _host.UpAsync();
            await ReadAsync(60);
            await up;
            await ReadAsync(20);
        }
        // What the machine prints meanwhile has no gap and no repeat either.
        await _host.RavelOkAsync("exec", "talker", "sleep", "0.2");
        var numbers = (await _host.RavelOkAsync("logs", "talker")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => int.Parse(line, CultureInfo.InvariantCulture)).ToList();
        Assert.True(numbers.Count >= next, $"{numbers.Count} lines in the log, {next} over TCP");
        Assert.Equal(Enumerable.Range(1, numbers.Count), numbers);
        await _host.RavelOkAsync("rm", "-f", "talker");
    }

    [Fact(Explicit = true)]
    [Trait("Kind", "Soak")]
    public async Task Twenty_running_machines_are_adopted_as_they_are()
    {
        const int Count = 20;
        var names = Enumerable.Range(1, Count).Select(i => $"many-{i}").ToArray();
        foreach (var name in names)
            await _host.RunDetachedAsync("--name", name, "--memory", "128m", one.Busybox, "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 1; done");
        var before = await Task.WhenAll(names.Select(_host.InspectAsync));
        for (var round = 0; round < 5; round++)
        {
            await _host.KillDaemonAsync();
            await _host.UpAsync();
            var took = (await File.ReadAllLinesAsync(System.IO.Path.Combine(_host.DataDirectory, "raveld.log"))).Last(line => line.Contains("Took over", StringComparison.Ordinal));
            TestContext.Current.TestOutputHelper!.WriteLine(took);
            Assert.Contains($"Took over {Count} machines", took, StringComparison.Ordinal);
        }
        foreach (var machine in before)
        {
            var after = await _host.InspectAsync(machine.Name);
            Assert.Equal((machine.InstanceId, machine.PrivateIp, "started"), (after.InstanceId, after.PrivateIp, after.State));
            var numbers = (await _host.RavelOkAsync("logs", machine.Name)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.Equal(Enumerable.Range(1, numbers.Length).Select(i => $"{i}"), numbers);
        }
        await _host.RavelOkAsync(["rm", "-f", .. names]);
    }

    [Fact]
    public async Task An_exit_while_the_daemon_is_dead_is_known_when_it_returns()
    {
        await _host.RunDetachedAsync("--name", "short", one.Busybox, "sh", "-c", "echo begun; sleep 4; echo ended; exit 9");
        await using (var follow = _host.StartRavel("logs", "-f", "short"))
            Assert.Equal("begun", await follow.ReadLineAsync());

        await _host.KillDaemonAsync();
        await Task.Delay(TimeSpan.FromSeconds(8));
        await _host.UpAsync();

        Assert.Equal("9\n", await _host.RavelOkAsync("wait", "short"));
        Assert.Equal("begun\nended\n", await _host.RavelOkAsync("logs", "short"));
        await _host.RavelOkAsync("rm", "short");
    }

    [Fact]
    public async Task Down_stops_machines_and_up_brings_declared_ones_back()
    {
        await using var host = await RavelHost.CreateAsync();
        await using var images = await HostImages.ServeAsync(host);
        await host.UpAsync();
        await host.RunDetachedAsync("--name", "declared", images.Busybox, "sh", "-c", "echo up; sleep 600");
        var before = await host.InspectAsync("declared");

        await host.RavelOkAsync("down");
        Assert.Empty(host.OpenRootfsFiles());
        Assert.DoesNotContain("rv", (await host.InNamespaceAsync("ip", "-br", "link", "show", "type", "tun")).Output, StringComparison.Ordinal);
        Assert.DoesNotContain("ravel", (await host.InNamespaceAsync("nft", "list", "tables")).Output, StringComparison.Ordinal);

        await host.UpAsync();
        var after = await host.InspectUntilAsync("declared", "started");
        Assert.Equal(before.PrivateIp, after.PrivateIp);
        Assert.NotEqual(before.InstanceId, after.InstanceId);
    }
}
