using Ravel.Testing.EndToEnd;
using Ravel.Testing.Images;

namespace Ravel.EndToEnd.Path;

/// <summary>Tenants, their networks, and two Ravels side by side.</summary>
[Collection(nameof(OneHost))]
public sealed class TenancyTests(OneHost one)
{
    private readonly RavelHost _host = one.Host;

    [Fact]
    public async Task Machines_of_a_namespace_reach_each_other_and_no_other_tenant_nor_the_host()
    {
        await _host.RavelOkAsync("namespace", "create", "rival");
        await _host.RunDetachedAsync("--name", "server", one.Nginx);
        await _host.RunDetachedAsync("--name", "friend", one.Busybox, "sleep", "600");
        await _host.RunDetachedAsync("--name", "stranger", "--namespace", "rival", one.Busybox, "sleep", "600");
        var server = await _host.InspectAsync("server");
        var target = $"http://[{server.PrivateIp}]/";

        var friend = await _host.RavelAsync("exec", "friend", "sh", "-c", $"until timeout 5 wget -q -O - '{target}'; do sleep 1; done");
        Assert.Equal(0, friend.ExitCode);
        Assert.Equal(TestImages.NginxPage, friend.Output);

        var stranger = await _host.RavelAsync("exec", "--namespace", "rival", "stranger", "timeout", "3", "wget", "-q", "-O", "-", target);
        Assert.NotEqual(0, stranger.ExitCode);
        var strangerV4 = await _host.RavelAsync(
            "exec", "--namespace", "rival", "stranger", "timeout", "3", "wget", "-q", "-O", "-", $"http://{server.NodeIpv4}/");
        Assert.NotEqual(0, strangerV4.ExitCode);

        // Another tenant's token does not see it either.
        Assert.NotEqual(0, (await _host.RavelAsync("inspect", "--namespace", "rival", "server")).ExitCode);

        // The API on the host's loopback and its uplink address are closed to guests.
        var port = new Uri(_host.Client().Server).Port;
        var host = await _host.RavelAsync(
            "exec", "friend", "timeout", "3", "wget", "-q", "-O", "-", $"http://{NetworkNamespace.UplinkAddress}:{port}/v1/server");
        Assert.NotEqual(0, host.ExitCode);

        await _host.RavelOkAsync("rm", "-f", "server", "friend");
        await _host.RavelOkAsync("rm", "-f", "--namespace", "rival", "stranger");
    }

    [Fact]
    public async Task A_machine_reaches_the_outside_through_NAT_and_only_what_it_asked_for_comes_back()
    {
        await using var outside = _host.ServeOutside("hello from outside\n");
        var result = await _host.RavelAsync(
            "run", "--rm", one.Busybox, "timeout", "10", "wget", "-q", "-O", "-", $"http://{NetworkNamespace.OutsideAddress}:8000/");

        Assert.Equal("hello from outside\n", result.Output);
        Assert.Equal(0, result.ExitCode);
    }

    [Fact]
    public async Task Two_data_directories_are_up_side_by_side()
    {
        var other = _host.AddDataDirectory("other");
        await _host.UpAsync(other);
        var image = one.Busybox;
        var result = await _host.RavelAsync(["run", "--rm", image, "echo", "from the other"], other);
        Assert.Equal("from the other\n", result.Output);

        var ours = await _host.RunDetachedAsync("--name", "ours", image, "sleep", "600");
        Assert.DoesNotContain("ours", (await _host.RavelAsync(["ps", "-a"], other)).Output, StringComparison.Ordinal);
        Assert.Equal(0, (await _host.RavelAsync(["down"], other)).ExitCode);
        Assert.Equal("alive\n", await _host.RavelOkAsync("exec", ours, "echo", "alive"));
        await _host.RavelOkAsync("rm", "-f", "ours");
    }

    [Fact]
    public async Task An_imported_image_runs_without_any_registry()
    {
        await _host.RavelOkAsync("image", "import", (await TestImages.BusyboxAsync()).Directory, "--name", "offline:1");
        Assert.Contains("offline:1", await _host.RavelOkAsync("image", "ls"), StringComparison.Ordinal);
        Assert.Equal("no network needed\n", await _host.RavelOkAsync("run", "--rm", "--pull", "never", "offline:1", "echo", "no network needed"));
        await _host.RavelOkAsync("image", "rm", "offline:1");
        Assert.DoesNotContain("offline:1", await _host.RavelOkAsync("image", "ls"), StringComparison.Ordinal);
    }
}
