using System.Globalization;
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

    /// <summary>What the counter has printed so far.</summary>
    private async Task<List<int>> NumbersAsync() =>
        [.. (await _host.RavelOkAsync("logs", "counter")).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => int.Parse(line, CultureInfo.InvariantCulture))];
}
