using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Ravel.Agent.Networking;
using Ravel.Contracts.Ids;
using Ravel.Linux.Network;
using Ravel.Linux.Processes;
using Ravel.Testing.Needs;
using Ravel.Testing.Network;

namespace Ravel.Integration.Agent.Networking;

/// <summary>What comes, stays and goes with machines, with raveld, and with crashes.</summary>
public sealed partial class NodeNetworkLifecycleTests : IAsyncLifetime
{
    private TestHost _test = null!;

    public async ValueTask InitializeAsync()
    {
        Need.Root();
        Need.Program("nft");
        _test = await TestHost.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_test is not null)
            await _test.DisposeAsync();
    }

    [Fact]
    public async Task Nothing_is_left_when_everything_is_removed()
    {
        var before = await KernelState();
        var network = await _test.StartNetworkAsync();
        var machine = _test.NewMachine(1, 1, new PortMapping("tcp", null, 8080, 80));
        await _test.StartGuestAsync(network, machine);
        await Attach(network, _test.NewMachine(2, 2));
        Assert.NotEqual(before, await KernelState());

        await _test.Host.RunAsync(() => network.RemoveEverythingAsync(CancellationToken.None));

        Assert.Equal(before, await KernelState());
        await _test.Host.RunAsync(() => Assert.NotNull(PortReservation.TryTake(ProtocolType.Tcp, null, 8080)));
        // And again, as after a crash in the middle.
        await _test.Host.RunAsync(() => network.RemoveEverythingAsync(CancellationToken.None));
    }

    [Fact]
    public async Task Attach_and_detach_are_idempotent_and_leave_no_tap()
    {
        var network = await _test.StartNetworkAsync();
        var state = await KernelState();
        var machine = _test.NewMachine(1, 1, new PortMapping("udp", null, 5353, 53));

        var first = await Attach(network, machine);
        var second = await Attach(network, machine);
        Assert.Equal(first with { Nameservers = [] }, second with { Nameservers = [] });

        await Detach(network, machine.Instance);
        await Detach(network, machine.Instance);
        Assert.Equal(state, await KernelState());
        await Attach(network, _test.NewMachine(1, 1, new PortMapping("udp", null, 5353, 53)));
    }

    [Fact]
    public async Task Port_of_a_process_on_the_host_is_refused_by_name_and_leaves_nothing()
    {
        await _test.ServeAsync(_test.Host, IPAddress.Any, 8080);
        var network = await _test.StartNetworkAsync();
        var state = await KernelState();

        var refusal = await Assert.ThrowsAsync<NetworkException>(
            () => Attach(network, _test.NewMachine(1, 1, new PortMapping("tcp", null, 8080, 80))));

        Assert.Equal("port-taken", refusal.Code);
        Assert.Contains("8080/tcp", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(state, await KernelState());
    }

    [Fact]
    public async Task Published_port_is_taken_for_other_machines_other_ravels_and_other_processes()
    {
        var port = new PortMapping("tcp", null, 8080, 80);
        var first = await _test.StartNetworkAsync("first");
        var second = await _test.StartNetworkAsync("second");
        await Attach(first, _test.NewMachine(1, 1, port));

        Assert.Equal("port-taken", (await Assert.ThrowsAsync<NetworkException>(() => Attach(first, _test.NewMachine(2, 1, port)))).Code);
        Assert.Equal("port-taken", (await Assert.ThrowsAsync<NetworkException>(() => Attach(second, _test.NewMachine(2, 1, port)))).Code);
        await Assert.ThrowsAsync<SocketException>(() => _test.ServeAsync(_test.Host, IPAddress.Any, 8080));
    }

    [Fact]
    public async Task Connections_survive_changes_of_the_table_and_the_death_of_raveld()
    {
        await _test.ServeAsync(_test.Internet, TestHost.InternetV4, 80);
        var port = new PortMapping("tcp", null, 8080, 80);
        var network = await _test.StartNetworkAsync();
        var machine = _test.NewMachine(1, 1, port);
        var guest = await _test.StartGuestAsync(network, machine);
        await _test.ServeAsync(guest.Inside, IPAddress.IPv6Any, 80);
        using var outgoing = await LineClient.ConnectAsync(guest.Inside, TestHost.InternetV4, 80);
        using var incoming = await LineClient.ConnectAsync(_test.Internet, TestHost.HostV4, 8080);
        using var incoming6 = await LineClient.ConnectAsync(_test.Internet, TestHost.HostV6, 8080);
        using var local = await LineClient.ConnectAsync(_test.Host, IPAddress.Loopback, 8080);
        var all = new[] { outgoing, incoming, incoming6, local };

        await Attach(network, _test.NewMachine(2));
        foreach (var connection in all)
            Assert.Equal("after a change", await connection.AskAsync("after a change"));

        // SIGKILL: its sockets go, nothing else does. The next one adopts what its journal names.
        network.Dispose();
        var next = await _test.StartNetworkAsync("data", wanted: [machine]);
        foreach (var connection in all)
            Assert.Equal("after a restart", await connection.AskAsync("after a restart"));
        Assert.Equal("port-taken", (await Assert.ThrowsAsync<NetworkException>(() => Attach(next, _test.NewMachine(3, 1, port)))).Code);
        using var fresh = await LineClient.ConnectAsync(_test.Internet, TestHost.HostV4, 8080);
    }

    [Fact]
    public async Task Reconcile_removes_strays_and_touches_nothing_of_others()
    {
        var network = await _test.StartNetworkAsync();
        var others = await _test.StartNetworkAsync("others");
        await Attach(others, _test.NewMachine(1));
        await _test.Host.RunAsync(() =>
        {
            Tap.CreatePersistent("rv00-1"); // begins almost alike
            Tap.CreatePersistent("tap0");
        });
        await _test.Host.RunAsync(() => CommandRunner.RunCheckedAsync("nft", ["add", "table", "inet", "mine"]));
        var machine = _test.NewMachine(1);
        await Attach(network, machine);
        var before = await KernelState();
        await Attach(network, _test.NewMachine(2));

        await _test.Host.RunAsync(() => network.ReconcileAsync([machine], CancellationToken.None));

        Assert.Equal(before, await KernelState());
    }

    [Fact]
    public async Task Reconcile_mends_what_was_broken_behind_its_back()
    {
        await _test.ServeAsync(_test.Internet, TestHost.InternetV4, 80);
        var network = await _test.StartNetworkAsync();
        var machine = _test.NewMachine(1);
        var guest = await _test.StartGuestAsync(network, machine);
        await _test.Host.RunAsync(async () =>
        {
            await CommandRunner.RunCheckedAsync("nft", ["flush", "ruleset"]);
            await TestHost.IpAsync($"route del {guest.Network.AddressV4.Split('/')[0]}");
            await TestHost.IpAsync($"addr flush dev {guest.Network.Tap}");
            await TestHost.IpAsync($"neigh flush all");
            Sysctl.Write($"ipv4/conf/{guest.Network.Tap}/forwarding", "0");
        });

        await _test.Host.RunAsync(() => network.ReconcileAsync([machine], CancellationToken.None));

        using var connection = await LineClient.ConnectAsync(guest.Inside, TestHost.InternetV4, 80);
        Assert.Equal("hello", await connection.AskAsync("hello"));
    }

    [Fact]
    public async Task Next_incarnation_takes_over_tap_and_ports_before_the_last_is_detached()
    {
        var network = await _test.StartNetworkAsync();
        var last = _test.NewMachine(1, 1, new PortMapping("tcp", null, 8080, 80));
        await Attach(network, last);
        var next = last with { Instance = InstanceId.New(DateTimeOffset.UnixEpoch.AddDays(1)) };

        var attached = await Attach(network, next);
        await Detach(network, last.Instance);

        Assert.NotNull(await _test.Host.RunAsync(() => RouteNetlink.IndexOf(attached.Tap)));
        await Detach(network, next.Instance);
        Assert.Null(await _test.Host.RunAsync(() => RouteNetlink.IndexOf(attached.Tap)));
    }

    [Fact]
    public async Task Address_in_use_is_refused_to_another_machine_and_the_first_keeps_working()
    {
        await _test.ServeAsync(_test.Internet, TestHost.InternetV4, 80);
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1));

        await Assert.ThrowsAsync<NetworkException>(() => Attach(network, _test.NewMachine(1, 2)));

        using var connection = await LineClient.ConnectAsync(guest.Inside, TestHost.InternetV4, 80);
    }

    [Fact]
    public async Task Next_owner_of_an_address_inherits_no_connection()
    {
        await _test.ServeAsync(_test.Internet, TestHost.InternetV4, 80);
        await _test.ServeAsync(_test.Internet, TestHost.InternetV6, 80);
        var network = await _test.StartNetworkAsync();
        var machine = _test.NewMachine(1, 1, new PortMapping("tcp", null, 8080, 80));
        var guest = await _test.StartGuestAsync(network, machine);
        var bystander = await _test.StartGuestAsync(network, _test.NewMachine(2));
        await _test.ServeAsync(guest.Inside, IPAddress.IPv6Any, 80);
        using var outgoing = await LineClient.ConnectAsync(guest.Inside, TestHost.InternetV4, 80);
        using var outgoing6 = await LineClient.ConnectAsync(guest.Inside, TestHost.InternetV6, 80);
        using var incoming = await LineClient.ConnectAsync(_test.Internet, TestHost.HostV4, 8080);
        using var other = await LineClient.ConnectAsync(bystander.Inside, TestHost.InternetV4, 80);

        await Detach(network, machine.Instance);

        var v4 = IPAddress.Parse(guest.Network.AddressV4.Split('/')[0]);
        var v6 = IPAddress.Parse(guest.Network.AddressV6.Split('/')[0]);
        Assert.Equal((0, 0), await _test.Host.RunAsync(() => (ConnectionTracking.Forget(v4), ConnectionTracking.Forget(v6))));
        Assert.Equal("still", await other.AskAsync("still"));
        var others = IPAddress.Parse(bystander.Network.AddressV4.Split('/')[0]);
        Assert.Equal(1, await _test.Host.RunAsync(() => ConnectionTracking.Forget(others)));
    }

    [Fact]
    public async Task Many_machines_attach_at_once()
    {
        var network = await _test.StartNetworkAsync();
        var machines = Enumerable.Range(1, 60).Select(i => _test.NewMachine(i, i % 5 + 1)).ToList();

        var attached = await _test.Host.RunAsync(() => Task.WhenAll(machines.Select(m => network.AttachAsync(m, CancellationToken.None))));

        Assert.Equal(machines.Count, attached.Select(a => a.AddressV4).Distinct().Count());
        var table = await _test.Host.RunAsync(() => CommandRunner.RunCheckedAsync("nft", ["list", "ruleset"]));
        Assert.All(attached, a => Assert.Contains(a.AddressV4.Split('/')[0], table, StringComparison.Ordinal));
        await _test.Host.RunAsync(() => Task.WhenAll(machines.Select(m => network.DetachAsync(m.Instance, CancellationToken.None))));
        Assert.DoesNotContain("rv0-", await _test.Host.RunAsync(() => TestHost.IpAsync("link")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Reconcile_with_two_machines_of_one_port_serves_the_earlier()
    {
        var port = new PortMapping("tcp", null, 8080, 80);
        var network = await _test.StartNetworkAsync();
        var first = _test.NewMachine(1, 1, port);
        var second = _test.NewMachine(2, 1, port with { GuestPort = 81 });

        await _test.Host.RunAsync(() => network.ReconcileAsync([second, first], CancellationToken.None));

        var rules = await _test.Host.RunAsync(() => CommandRunner.RunCheckedAsync("nft", ["list", "map", "inet", "ravel_0", "published4"]));
        Assert.Contains("tcp . 8080 : 100.64.0.2 . 80", rules, StringComparison.Ordinal);
        Assert.DoesNotContain("81", rules, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Diagnosis_names_a_firewall_that_drops_forwarded_packets_and_the_command_mends_it()
    {
        await _test.ServeAsync(_test.Internet, TestHost.InternetV4, 80);
        var network = await _test.StartNetworkAsync();
        var guest = await _test.StartGuestAsync(network, _test.NewMachine(1));
        await Shell("nft 'add table inet fw; add chain inet fw forwarding { type filter hook forward priority 0; policy drop; }'");

        var finding = (await Diagnose()).Single(f => f.Subject == "firewall");
        Assert.True(finding.IsProblem);
        await Shell(finding.Remedy);

        using var connection = await LineClient.ConnectAsync(guest.Inside, TestHost.InternetV4, 80);
    }

    private Task<IReadOnlyList<NetworkFinding>> Diagnose() =>
        _test.Host.RunAsync(() => NetworkDiagnosis.DiagnoseAsync(new NodeNetworkOptions(), CancellationToken.None));

    private Task<string> Shell(string command) => _test.Host.RunAsync(() => CommandRunner.RunCheckedAsync("sh", ["-c", command]));

    private Task<InstanceNetwork> Attach(NodeNetwork network, NetworkAttachment machine) =>
        _test.Host.RunAsync(() => network.AttachAsync(machine, CancellationToken.None));

    private Task Detach(NodeNetwork network, InstanceId instance) =>
        _test.Host.RunAsync(() => network.DetachAsync(instance, CancellationToken.None));

    /// <summary>Everything the network puts into the kernel, without counters, indexes and carriers.</summary>
    private Task<string> KernelState() => _test.Host.RunAsync(async () =>
    {
        using var netlink = new RouteNetlink();
        var state = string.Concat(netlink.ListLinks().Select(link => $"{link.Name} {link.IsUp} {link.Mtu}\n").Order());
        foreach (var arguments in new[] { "-o addr", "-4 route show table all", "-6 route show table all" })
        {
            var lines = (await TestHost.IpAsync(arguments)).Split('\n')
                .Where(line => !line.Contains("multicast", StringComparison.Ordinal))
                .Select(line => IndexAtStart().Replace(line, "").Trim() + "\n");
            state += string.Concat(lines.Order());
        }
        return state + await CommandRunner.RunCheckedAsync("nft", ["list", "ruleset"]);
    });

    [GeneratedRegex("^[0-9]+:")]
    private static partial Regex IndexAtStart();
}
