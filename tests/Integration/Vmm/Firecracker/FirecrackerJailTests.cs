using System.Globalization;
using Ravel.Linux.Network;
using Ravel.Linux.Processes;
using Ravel.Testing.Network;
using Ravel.Testing.Vmm;
using Ravel.Vmm;
using Ravel.Vmm.Firecracker;

namespace Ravel.Integration.Vmm.Firecracker;

public sealed class FirecrackerJailTests : IAsyncLifetime
{
    private readonly FakeFirecrackerHarness _harness = new(isJailed: true);
    private readonly string _elsewhere = Directory.CreateDirectory($"/dev/shm/rv-{Environment.ProcessId}-{Environment.CurrentManagedThreadId}").FullName;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _harness.DisposeAsync();
        Directory.Delete(_elsewhere, recursive: true);
    }

    [Fact]
    public async Task Each_VM_has_a_user_of_its_own_and_a_directory_nobody_else_enters()
    {
        await using var first = await _harness.Driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline);
        await using var second = await _harness.Driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline);

        var users = new[] { first, second }.Select(vmm => UserOf(vmm.Record.Pid)).ToList();
        Assert.Distinct(users);
        Assert.All(users, user => Assert.InRange(user, _harness.Options.JailFirstId, _harness.Options.JailFirstId + _harness.Options.JailIdCount - 1));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(RootOf(first.Record.Id)));
        Assert.Contains(File.ReadAllLines($"/proc/{first.Record.Pid}/limits"), line => line.StartsWith("Max open files            1024 ", StringComparison.Ordinal));
        // The jailer is gone: nobody but the VM is in its group.
        Assert.Equal(1, ParentOf(first.Record.Pid));
    }

    [Fact]
    public async Task Drives_on_another_file_system_are_mounted_into_the_jail_and_outlive_it()
    {
        var spec = _harness.NewSpec();
        spec = spec with
        {
            Drives = [.. spec.Drives.Select(drive =>
            {
                var path = Path.Combine(_elsewhere, drive.Id);
                File.Copy(drive.Path, path);
                return drive with { Path = path };
            })],
        };
        await using (var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline))
        {
            Assert.Contains(Path.Combine(RootOf(spec.Id), "drive2"), await File.ReadAllTextAsync("/proc/self/mountinfo", _harness.Deadline));
            await Assert.ThrowsAsync<IOException>(() => File.WriteAllTextAsync(Path.Combine(RootOf(spec.Id), "drive0"), "x", _harness.Deadline));
            await using (var file = File.OpenWrite(Path.Combine(RootOf(spec.Id), "drive2")))
                file.Write("kept"u8);
        }

        await _harness.Driver.PurgeAsync(spec.Id, spec.RunDirectory, _harness.Deadline);

        Assert.Empty(_harness.Leftovers(spec));
        Assert.DoesNotContain(spec.Id, await File.ReadAllTextAsync("/proc/self/mountinfo", _harness.Deadline));
        Assert.StartsWith("kept", await File.ReadAllTextAsync(spec.Drives[2].Path, _harness.Deadline));
    }

    [Fact]
    public async Task What_the_host_lacks_is_found_before_anything_is_made()
    {
        await using var mixed = new FakeFirecrackerHarness(isJailed: true, jailerVersion: "1.16.1");
        await using var old = new FakeFirecrackerHarness(isJailed: false, version: "1.12.1");
        (FakeFirecrackerHarness Harness, VmmOptions Options, string Words)[] cases =
        [
            (mixed, mixed.Options, "is version 1.16.1 and"),
            (old, old.Options, "version 1.12.1 is older than 1.13"),
            (_harness, _harness.Options with { Jailer = "/nowhere/jailer" }, "/nowhere/jailer is not there"),
            (_harness, _harness.Options with { KvmDevice = "/nowhere/kvm" }, "/nowhere/kvm cannot be opened"),
            (_harness, _harness.Options with { JailDirectory = "/" + new string('j', 90) }, "too long for Unix sockets"),
        ];
        foreach (var (harness, options, words) in cases)
        {
            var driver = new FirecrackerDriver(options);
            var spec = harness.NewSpec();

            var error = await Assert.ThrowsAnyAsync<VmmException>(() => driver.LaunchAsync(spec, _harness.Deadline));

            Assert.Contains(words, error.Message);
            Assert.Empty(harness.Leftovers(spec));
            var probe = await driver.ProbeAsync(_harness.Deadline);
            if (options.JailDirectory == harness.Options.JailDirectory)
                Assert.True(!probe.Available && probe.Problems.Any(problem => problem.Message.Contains(words) && problem.Remedy.Length > 0), words);
        }
    }

    [Fact]
    public async Task A_tap_that_is_not_there_is_not_made_and_a_network_namespace_needs_a_jail()
    {
        var spec = _harness.NewSpec() with { Networks = [new NetworkInterface("eth0", "rvabsent0", "02:00:00:00:00:01")] };
        var error = await Assert.ThrowsAnyAsync<VmmException>(() => _harness.Driver.LaunchAsync(spec, _harness.Deadline));
        Assert.Contains("tap rvabsent0 does not exist", error.Message);
        Assert.Empty(_harness.Leftovers(spec));

        // In another network namespace it is Firecracker that finds out.
        error = await Assert.ThrowsAnyAsync<VmmException>(() => _harness.Driver.LaunchAsync(spec with { NetworkNamespace = "/proc/self/ns/net" }, _harness.Deadline));
        Assert.Contains("Open tap device failed", error.Message);
        Assert.Empty(_harness.Leftovers(spec));

        await using var plain = new FakeFirecrackerHarness(isJailed: false);
        error = await Assert.ThrowsAnyAsync<VmmException>(
            () => plain.Driver.LaunchAsync(plain.NewSpec() with { NetworkNamespace = "/proc/self/ns/net" }, _harness.Deadline));
        Assert.Contains("needs the jailer", error.Message);
    }

    [Fact]
    public async Task A_tap_of_the_host_is_given_to_the_VMs_user()
    {
        var tap = string.Create(CultureInfo.InvariantCulture, $"fct{Environment.ProcessId}");
        Tap.CreatePersistent(tap);
        try
        {
            var spec = _harness.NewSpec() with { Networks = [new NetworkInterface("eth0", tap, "02:00:00:00:00:01")] };
            await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);

            var owner = int.Parse(await File.ReadAllTextAsync($"/sys/class/net/{tap}/owner", _harness.Deadline), CultureInfo.InvariantCulture);
            Assert.InRange(owner, _harness.Options.JailFirstId, _harness.Options.JailFirstId + _harness.Options.JailIdCount - 1);
            Assert.Equal(UserOf(vmm.Record.Pid), owner);
        }
        finally
        {
            using var netlink = new RouteNetlink();
            if (RouteNetlink.IndexOf(tap) is { } link)
                netlink.DeleteLink(link);
        }
    }

    [Fact]
    public async Task A_VM_in_a_network_namespace_has_the_taps_that_are_there()
    {
        using var network = new NetworkNamespaceThread("firecracker");
        await network.RunAsync(() => Tap.CreatePersistent("tap0"));
        var spec = _harness.NewSpec() with
        {
            Networks = [new NetworkInterface("eth0", "tap0", "02:00:00:00:00:01")],
            NetworkNamespace = string.Create(CultureInfo.InvariantCulture, $"/proc/{Environment.ProcessId}/task/{network.ThreadId}/ns/net"),
        };

        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);

        Assert.False(vmm.Exited.IsCompleted);
    }

    [Fact]
    public async Task A_VM_that_is_not_what_was_launched_is_not_adopted()
    {
        var spec = _harness.NewSpec();
        var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);
        await vmm.DisposeAsync();
        var file = Path.Combine(spec.RunDirectory, "vm.json");
        await File.WriteAllTextAsync(file, (await File.ReadAllTextAsync(file, _harness.Deadline)).Replace("\"memory_mib\":256", "\"memory_mib\":64"), _harness.Deadline);

        var error = await Assert.ThrowsAsync<VmmMismatchException>(() => _harness.Driver.RecoverAsync(vmm.Record, _harness.Deadline));
        Assert.Contains("256 MiB instead of 1 and 64", error.Message);
        File.Delete(file);
        error = await Assert.ThrowsAsync<VmmMismatchException>(() => _harness.Driver.RecoverAsync(vmm.Record, _harness.Deadline));
        Assert.Contains("does not say what was launched", error.Message);

        // It was left as it is.
        Assert.NotNull(ProcessIdentity.Read(vmm.Record.Pid));
    }

    [Fact]
    public async Task Usage_is_added_up_over_adoptions_and_the_balloon_is_told()
    {
        var spec = _harness.NewSpec() with { HasBalloon = true };
        DiskUsage? usage;
        IVmm vmm;
        await using (vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline))
        {
            usage = (await vmm.GetMetricsAsync(_harness.Deadline)).Disk;
            Assert.Equal(new DiskUsage(4096, 512, 8, 1), usage);
        }

        await using var found = await _harness.Driver.RecoverAsync(vmm.Record, _harness.Deadline);
        await found!.SetBalloonAsync(100, _harness.Deadline);
        var metrics = await found.GetMetricsAsync(_harness.Deadline);
        Assert.Equal(new DiskUsage(8192, 1024, 16, 2), metrics.Disk);
        Assert.Equal(new BalloonUsage(100, 100, 64 << 20), metrics.Balloon);
        Assert.Contains("cannot take 256", (await Assert.ThrowsAnyAsync<VmmException>(() => found.SetBalloonAsync(256, _harness.Deadline))).Message);

        await using var without = await _harness.Driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline);
        Assert.Null((await without.GetMetricsAsync(_harness.Deadline)).Balloon);
        Assert.Contains("no balloon", (await Assert.ThrowsAnyAsync<VmmException>(() => without.SetBalloonAsync(1, _harness.Deadline))).Message);
    }

    private string RootOf(string id) => Path.Combine(_harness.Options.JailDirectory, "firecracker", id, "root");

    private static int UserOf(int pid) => int.Parse(Status(pid, "Uid:")[0], CultureInfo.InvariantCulture);

    private static int ParentOf(int pid) => int.Parse(Status(pid, "PPid:")[0], CultureInfo.InvariantCulture);

    private static string[] Status(int pid, string name) =>
        File.ReadLines($"/proc/{pid}/status").First(line => line.StartsWith(name, StringComparison.Ordinal))
            .Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1..];
}
