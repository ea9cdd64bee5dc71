using Ravel.Testing.EndToEnd;

namespace Ravel.EndToEnd.Path;

/// <summary>What outlives a machine, and what grows under one.</summary>
[Collection(nameof(OneHost))]
public sealed class VolumeTests(OneHost one)
{
    private readonly RavelHost _host = one.Host;

    [Fact]
    public async Task A_volume_keeps_what_was_written_through_a_killed_machine_and_grows()
    {
        await _host.RunDetachedAsync(
            "--name", "writer", "-v", "kept:/srv/data", one.Busybox,
            "sh", "-c", "ls -A /srv/data; i=0; while true; do i=$((i+1)); echo $i >> /srv/data/lines; sync; echo $i; done");
        await using (var follow = _host.StartRavel("logs", "-f", "writer"))
            Assert.Equal("1", await follow.ReadLineAsync());
        Assert.NotEqual(0, (await _host.RavelAsync("volume", "rm", "kept")).ExitCode);
        Assert.NotEqual(0, (await _host.RavelAsync("run", "--rm", "-v", "kept:/x", one.Busybox, "true")).ExitCode);
        await _host.RavelOkAsync("exec", "writer", "sleep", "1");
        var said = (await _host.RavelOkAsync("logs", "writer")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Length;
        await _host.RavelOkAsync("rm", "-f", "writer");

        Assert.Equal("kept\n", await _host.RavelOkAsync("volume", "grow", "--size", "2g", "kept"));
        var lines = int.Parse(await _host.RavelOkAsync("run", "--rm", "-v", "kept:/srv/data", one.Busybox, "sh", "-c", "wc -l < /srv/data/lines"));
        Assert.True(lines >= said, $"{said} lines were said to be written, {lines} are there");
        var mib = int.Parse(await _host.RavelOkAsync("run", "--rm", "-v", "kept:/d:ro", one.Busybox, "sh", "-c", "df -m /d | tail -1 | awk '{print $2}'"));
        Assert.InRange(mib, 1900, 2048);

        var snapshot = (await _host.RavelOkAsync("volume", "snapshot", "kept")).Trim();
        await _host.RavelOkAsync("volume", "create", "copy", "--from", snapshot);
        Assert.Equal($"{lines}\n", await _host.RavelOkAsync("run", "--rm", "-v", "copy:/d", one.Busybox, "sh", "-c", "wc -l < /d/lines"));
        await _host.RavelOkAsync("volume", "rm", "copy", snapshot, "kept");
        Assert.Equal("[]", (await _host.RavelOkAsync("volume", "ls", "--json")).Trim());
    }

    [Theory]
    [InlineData("exit", "exit 0")]
    [InlineData("stop", "trap 'echo more >> /v/data; sha256sum < /v/data > /v/digest; exit 0' TERM; echo written; while :; do sleep 0.1; done")]
    [InlineData("kill", "echo written; sleep 100000")]
    public async Task Nothing_written_before_the_workload_ended_is_lost(string ending, string end)
    {
        var name = $"ends-by-{ending}";
        // Nobody syncs: what was written is in the guest's memory only.
        await _host.RunDetachedAsync("--name", name, "-v", $"{name}:/v", one.Busybox, "sh", "-c", $"head -c 8m /dev/urandom > /v/data; sha256sum < /v/data > /v/digest; {end}");
        if (ending != "exit")
        {
            await using (var follow = _host.StartRavel("logs", "-f", name))
                Assert.Equal("written", await follow.ReadLineAsync());
            await _host.RavelOkAsync(ending == "stop" ? ["stop", name] : ["kill", "--signal", "KILL", name]);
        }
        Assert.Equal(ending == "kill" ? "137\n" : "0\n", await _host.RavelOkAsync("wait", name));
        await _host.RavelOkAsync("rm", name);
        Assert.Equal("same\n", await _host.RavelOkAsync(
            "run", "--rm", "-v", $"{name}:/v", one.Busybox, "sh", "-c", "[ $(stat -c %s /v/data) -ge 8388608 ] && [ \"$(sha256sum < /v/data)\" = \"$(cat /v/digest)\" ] && echo same"));
        await _host.RavelOkAsync("volume", "rm", name);
    }
}
