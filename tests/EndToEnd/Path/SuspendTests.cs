using System.Globalization;
using Ravel.Contracts.Api;
using Ravel.Testing.EndToEnd;

namespace Ravel.EndToEnd.Path;

/// <summary>A machine put aside with its memory.</summary>
[Collection(nameof(OneHost))]
public sealed class SuspendTests(OneHost one)
{
    private readonly RavelHost _host = one.Host;

    [Fact]
    public async Task A_suspended_machine_outlives_the_daemon_and_goes_on_where_it_was()
    {
        await _host.RunDetachedAsync("--name", "aside", "-p", "18091:80", one.Nginx);
        await _host.RunDetachedAsync("--name", "counter", one.Busybox, "sh", "-c", "i=0; while true; do i=$((i+1)); echo $i; usleep 50000; done");
        await _host.FetchUntilAsync("http://127.0.0.1:18091/");
        var before = await _host.InspectAsync("aside");

        await _host.RavelOkAsync("suspend", "aside", "counter");
        var counted = (await NumbersAsync()).Count;
        Assert.Equal("suspended", (await _host.InspectAsync("aside")).State);
        Assert.NotEqual(0, (await _host.FetchAsync("http://127.0.0.1:18091/")).ExitCode);
        await _host.KillDaemonAsync();
        await _host.UpAsync();
        Assert.Equal("suspended", (await _host.InspectAsync("aside")).State);

        await _host.RavelOkAsync("resume", "aside", "counter");
        await _host.FetchUntilAsync("http://127.0.0.1:18091/");
        var after = await _host.InspectAsync("aside");
        Assert.Equal((before.InstanceId, before.PrivateIp), (after.InstanceId, after.PrivateIp));
        await _host.RavelOkAsync("exec", "counter", "sh", "-c", "sleep 1");
        var numbers = await NumbersAsync();
        Assert.True(numbers.Count > counted, $"{counted} numbers when it was suspended, {numbers.Count} after it went on");
        Assert.Equal(Enumerable.Range(1, numbers.Count), numbers);

        await _host.RavelOkAsync("suspend", "counter");
        await _host.RavelOkAsync("rm", "counter");
        await _host.RavelOkAsync("rm", "-f", "aside");
    }

    [Fact]
    public async Task Copies_of_a_template_and_machines_that_went_on_have_their_own_randomness_clock_addresses_and_disks()
    {
        // Of a size nobody else has, so that its template is known to be there. As many disks as its copies: a template has a place for each.
        var log = System.IO.Path.Combine(_host.DataDirectory, "raveld.log");
        int Made() => File.ReadAllText(log).Split("Made template").Length;
        var made = Made();
        // After one that drove out another, the next that would waits its time (WarmStartOptions.Pause): who misses it again asks again.
        for (var attempt = 0; Made() == made; attempt++)
        {
            if (attempt % 100 == 0)
                await _host.RavelOkAsync("run", "--rm", "--memory", "272m", "-v", "copy-1:/v", one.Busybox, "true");
            Assert.True(attempt < 900, await File.ReadAllTextAsync(log));
            await Task.Delay(200);
        }

        // The first thing that is run of the tenant looks.
        var (first, before) = await LookAsync(() => _host.RavelOkAsync("run", "-d", "--name", "copy-1", "--memory", "272m", "--disk", "600m", "-v", "copy-1:/v", one.Busybox, "sh", "-c", Look + "; echo 1 > /v/which; sync; sleep 100000"), "copy-1");
        var (second, _) = await LookAsync(() => _host.RavelOkAsync("run", "-d", "--name", "copy-2", "--memory", "272m", "--disk", "700m", "-v", "copy-2:/v", one.Busybox, "sh", "-c", Look + "; echo 2 > /v/which; sync; sleep 100000"), "copy-2");
        // A host too busy may have booted one of them: a cold start is what is left then.
        Assert.Contains(RavelHost.Hypervisors(mebibytes: 272), command => command.Contains("-incoming"));
        foreach (var own in (string[])["boot", "random", "uuid", "mac", "addresses"])
            Assert.NotEqual(first[own], second[own]);
        Assert.Equal(($"{600 * 2048}", $"{700 * 2048}"), (first["disk"], second["disk"]));

        await _host.RavelOkAsync("suspend", "copy-1", "copy-2");
        await _host.RavelOkAsync("resume", "copy-1", "copy-2");
        foreach (var (name, was, which) in ((string, Dictionary<string, string>, string)[])[("copy-1", first, "1\n"), ("copy-2", second, "2\n")])
        {
            var (now, after) = await LookAsync(() => _host.RavelOkAsync("exec", name, "sh", "-c", Look), name, isExec: true);
            foreach (var same in (string[])["boot", "mac", "addresses", "disk"])
                Assert.Equal(was[same], now[same]);
            Assert.NotEqual(was["random"], now["random"]);
            Assert.Contains($"{after.PrivateIp}/", now["addresses"], StringComparison.Ordinal);
            Assert.Equal(which, await _host.RavelOkAsync("exec", name, "cat", "/v/which"));
            // Packets with these addresses are let through, and come back.
            await _host.RavelOkAsync("exec", name, "sh", "-c", "ip -6 neigh; ping -c 1 -W 10 $(ip route | awk '/default/ {print $3}')");
        }
        Assert.Equal((before.PrivateIp, before.NodeIpv4), ((await _host.InspectAsync("copy-1")).PrivateIp, (await _host.InspectAsync("copy-1")).NodeIpv4));
        await _host.RavelOkAsync("rm", "-f", "copy-1", "copy-2");
        await _host.RavelOkAsync("volume", "rm", "copy-1", "copy-2");
    }

    /// <summary>Prints what a guest knows of itself, a line NAME=VALUE each.</summary>
    private const string Look =
        "echo boot=$(cat /proc/sys/kernel/random/boot_id); echo random=$(head -c 16 /dev/urandom | hexdump -v -e '1/1 \"%02x\"'); echo uuid=$(cat /proc/sys/kernel/random/uuid); "
        + "echo time=$(date +%s); echo mac=$(cat /sys/class/net/eth0/address); echo addresses=$(ip -o addr show dev eth0 scope global | awk '{print $4}' | sort | xargs); "
        + "echo disk=$(cat /sys/class/block/vdb/size); echo looked=";

    /// <summary>What a guest says; its clock lies between two looks at the host's, and its addresses are those the server shows.</summary>
    private async Task<(Dictionary<string, string> Said, Machine Machine)> LookAsync(Func<Task<string>> look, string machine, bool isExec = false)
    {
        var began = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
        var said = await look();
        for (var attempt = 0; !said.Contains("looked=", StringComparison.Ordinal); attempt++)
        {
            Assert.True(attempt < 300 && !isExec, said);
            await Task.Delay(100);
            said = await _host.RavelOkAsync("logs", machine);
        }
        var facts = said.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('=', 2)).ToDictionary(parts => parts[0], parts => parts[1]);
        // A second each way: the clock is told in whole seconds.
        Assert.InRange(long.Parse(facts["time"], CultureInfo.InvariantCulture), began - 1, TimeProvider.System.GetUtcNow().ToUnixTimeSeconds() + 1);
        var shown = await _host.InspectAsync(machine);
        Assert.Contains($"{shown.PrivateIp}/", facts["addresses"], StringComparison.Ordinal);
        Assert.Contains($"{shown.NodeIpv4}/", facts["addresses"], StringComparison.Ordinal);
        return (facts, shown);
    }

    /// <summary>What the counter has printed so far.</summary>
    private async Task<List<int>> NumbersAsync() =>
        [.. (await _host.RavelOkAsync("logs", "counter")).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => int.Parse(line, CultureInfo.InvariantCulture))];
}
