using Ravel.Testing.EndToEnd;
using Ravel.Testing.Images;

namespace Ravel.EndToEnd.Path;

/// <summary>The whole path on one host: a real registry, a real image, a real VM, real packets.</summary>
[Collection(nameof(OneHost))]
public sealed class RunTests(OneHost one)
{
    private readonly RavelHost _host = one.Host;

    [Fact]
    public async Task Less_memory_than_the_kernel_boots_in_is_refused_with_what_it_needs()
    {
        if (Environment.GetEnvironmentVariable("RAVEL_KERNEL") == "small")
            Assert.Skip("the small kernel boots in the least that can be asked for");

        var result = await _host.RavelAsync("run", "--rm", "--memory", "64m", "--cpus", "4", one.Busybox, "true");

        Assert.Equal(125, result.ExitCode);
        Assert.Contains("give it --memory 88m, or a smaller kernel", Assert.Single(result.Error.Trim().Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_prints_what_the_workload_prints_and_exits_with_its_code()
    {
        var result = await _host.RavelAsync("run", "--rm", one.Busybox, "sh", "-c", "echo out; echo err >&2; exit 7");

        Assert.Equal(7, result.ExitCode);
        Assert.Equal("out\n", result.Output);
        Assert.Contains("err\n", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("exit 7", await _host.RavelOkAsync("ps", "-a"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_command_that_is_not_in_the_image_exits_with_127_and_names_it()
    {
        var result = await _host.RavelAsync("run", "--rm", one.Busybox, "no-such-program");

        Assert.Equal(127, result.ExitCode);
        Assert.Contains("no-such-program", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_workload_gets_user_directory_environment_and_size_as_asked()
    {
        var result = await _host.RavelAsync(
            "run", "--rm", "--cpus", "2", "--memory", "384m", "-e", "GREETING=hello world", "--user", "1000:2000", "--workdir", "/srv/made",
            one.Busybox, "sh", "-c", "id -u; id -g; pwd; echo $GREETING; nproc; grep MemTotal /proc/meminfo | tr -dc 0-9");

        Assert.Equal(0, result.ExitCode);
        var lines = result.Output.Split('\n');
        Assert.Equal(["1000", "2000", "/srv/made", "hello world", "2"], lines[..5]);
        Assert.InRange(int.Parse(lines[5]), 300 * 1024, 384 * 1024);
    }

    [Fact]
    public async Task An_image_that_is_nowhere_is_refused_by_name_and_leaves_no_machine()
    {
        var before = await _host.RavelOkAsync("ps", "-a", "--json");
        var result = await _host.RavelAsync("run", "--rm", one.Images.Registry + "/no/such:image", "true");

        Assert.Equal(125, result.ExitCode);
        Assert.Contains("no/such", result.Error, StringComparison.Ordinal);
        Assert.Equal(before, await _host.RavelOkAsync("ps", "-a", "--json"));
    }

    [Fact]
    public async Task Nginx_answers_over_a_published_port_and_two_machines_share_one_rootfs()
    {
        var first = await _host.RunDetachedAsync("--name", "web-one", "-p", "18080:80", one.Nginx);
        var second = await _host.RunDetachedAsync("--name", "web-two", "-p", "127.0.0.1:18081:80", one.Nginx);

        Assert.Equal(TestImages.NginxPage, await _host.FetchUntilAsync("http://127.0.0.1:18080/"));
        Assert.Equal(TestImages.NginxPage, await _host.FetchUntilAsync("http://127.0.0.1:18081/"));
        Assert.Equal(TestImages.NginxPage, await _host.FetchUntilAsync($"http://{NetworkNamespace.UplinkAddress}:18080/"));
        Assert.NotEqual(0, (await _host.FetchAsync($"http://{NetworkNamespace.UplinkAddress}:18081/")).ExitCode);

        var open = _host.OpenRootfsFiles();
        Assert.Equal(2, open.Count);
        Assert.Single(open.Distinct());

        Assert.Contains("GET / HTTP", await _host.RavelOkAsync("logs", "web-one"), StringComparison.Ordinal);
        var table = await _host.RavelOkAsync("ps");
        Assert.Contains("web-one", table, StringComparison.Ordinal);
        Assert.Contains("18080", table, StringComparison.Ordinal);

        var taken = await _host.RavelAsync("run", "-d", "-p", "18080:80", one.Nginx);
        Assert.NotEqual(0, taken.ExitCode);
        Assert.Contains("18080", taken.Error, StringComparison.Ordinal);

        await _host.RavelOkAsync("rm", "-f", first[..6], "web-two");
        Assert.Empty(_host.OpenRootfsFiles());
        Assert.NotEqual(0, (await _host.FetchAsync("http://127.0.0.1:18080/")).ExitCode);
    }

    [Fact]
    public async Task A_machine_can_be_watched_entered_stopped_started_and_removed()
    {
        await _host.RunDetachedAsync(
            "--name", "counter", one.Busybox, "sh", "-c", "trap 'echo bye; exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 1 & wait $!; done");
        await using (var follow = _host.StartRavel("logs", "-f", "counter"))
        {
            Assert.Equal("line 1", await follow.ReadLineAsync());
            Assert.Equal("line 2", await follow.ReadLineAsync());
        }

        var exec = await _host.RavelAsync(["exec", "-i", "counter", "sh", "-c", "cat; hostname; exit 5"], _host.DataDirectory, input: "typed\n");
        Assert.Equal(5, exec.ExitCode);
        Assert.StartsWith("typed\n", exec.Output, StringComparison.Ordinal);

        await _host.RavelOkAsync("stop", "counter");
        var stopped = await _host.InspectAsync("counter");
        Assert.Equal("stopped", stopped.State);
        Assert.Equal(0, stopped.Exit!.ExitCode);
        Assert.EndsWith("bye\n", await _host.RavelOkAsync("logs", "counter"), StringComparison.Ordinal);

        var refused = await _host.RavelAsync("exec", "counter", "true");
        Assert.NotEqual(0, refused.ExitCode);

        await _host.RavelOkAsync("start", "counter");
        var started = await _host.InspectAsync("counter");
        Assert.NotEqual(stopped.InstanceId, started.InstanceId);
        Assert.Equal(stopped.PrivateIp, started.PrivateIp);

        var held = await _host.RavelAsync("rm", "counter");
        Assert.NotEqual(0, held.ExitCode);
        await _host.RavelOkAsync("rm", "-f", "counter");
        Assert.NotEqual(0, (await _host.RavelAsync("inspect", "counter")).ExitCode);
    }

    [Fact]
    public async Task What_a_machine_writes_outlives_a_restart_but_not_the_machine()
    {
        await _host.RunDetachedAsync("--name", "writer", one.Busybox, "sh", "-c", "cat /kept 2>/dev/null; echo written >> /kept; sleep 600");
        await _host.RavelOkAsync("exec", "writer", "sh", "-c", "until [ -s /kept ]; do sleep 1; done");
        await _host.RavelOkAsync("restart", "-t", "0", "writer");
        await _host.RavelOkAsync("exec", "writer", "sh", "-c", "until [ \"$(wc -l < /kept)\" = 2 ]; do sleep 1; done");
        Assert.Equal("written\n", await _host.RavelOkAsync("logs", "writer"));
        await _host.RavelOkAsync("rm", "-f", "writer");

        Assert.Equal("", await _host.RavelOkAsync("run", "--rm", one.Busybox, "sh", "-c", "cat /kept 2>/dev/null; true"));
    }
}
