using System.Globalization;
using System.Security.Cryptography;
using Ravel.Contracts.Link;
using Ravel.EndToEnd.GuestInit;
using Ravel.Testing.Vmm;
using Ravel.Vmm;

namespace Ravel.EndToEnd.Vmm;

/// <summary>Guests that begin as copies of one that waits for its configuration.</summary>
public sealed class TemplateTests : IAsyncLifetime
{
    private BootedGuestHarness _harness = null!;

    private IVmTemplates Templates => (IVmTemplates)_harness.Driver;

    public async ValueTask InitializeAsync()
    {
        _harness = await BootedGuestHarness.CreateAsync(VmmOptions.FromEnvironment(Environment.GetEnvironmentVariable));
        Assert.SkipUnless(_harness.Driver is IVmTemplates, "this driver makes no templates");
    }

    public async ValueTask DisposeAsync() => await _harness.DisposeAsync();

    [Fact]
    public async Task Copies_have_their_own_disks_time_and_randomness()
    {
        var spec = _harness.NewSpec();
        var directory = Directory.CreateDirectory(spec.RunDirectory + "-template").FullName;
        await Templates.BuildAsync(spec, directory, _harness.Deadline);
        Assert.Empty(_harness.Leftovers(spec));
        var memory = await File.ReadAllBytesAsync(System.IO.Path.Combine(directory, "memory"), _harness.Deadline);

        var began = TimeProvider.System.GetUtcNow();
        var first = await RunAsync(directory);
        var second = await RunAsync(directory);
        var ended = TimeProvider.System.GetUtcNow();

        string[] lines = first.Split('\n');
        string[] disks = ["second last", "last", "128"];
        Assert.Equal(disks, lines[..3]);
        Assert.Equal(disks, second.Split('\n')[..3]);
        Assert.InRange(long.Parse(lines[3], CultureInfo.InvariantCulture), began.ToUnixTimeSeconds() - 1, ended.ToUnixTimeSeconds() + 1);
        // The boot's identifier and the kernel's random numbers.
        Assert.NotEqual(lines[4], second.Split('\n')[4]);
        Assert.NotEqual(lines[5], second.Split('\n')[5]);
        Assert.Equal(32, lines[5].Length);
        Assert.Equal(memory, await File.ReadAllBytesAsync(System.IO.Path.Combine(directory, "memory"), _harness.Deadline));
    }

    [Fact]
    public async Task A_template_that_is_not_what_was_written_is_refused()
    {
        var spec = _harness.NewSpec();
        var directory = Directory.CreateDirectory(spec.RunDirectory + "-template").FullName;
        await Templates.BuildAsync(spec, directory, _harness.Deadline);
        var state = System.IO.Path.Combine(directory, "state");
        var bytes = await File.ReadAllBytesAsync(state, _harness.Deadline);
        bytes[bytes.Length / 2] ^= 1;
        await File.WriteAllBytesAsync(state, bytes, _harness.Deadline);

        var copy = _harness.NewSpec() with { Template = new VmTemplate(directory) };
        var refusal = await Assert.ThrowsAnyAsync<VmmException>(() => _harness.Driver.LaunchAsync(copy, _harness.Deadline));

        Assert.Contains("damaged", refusal.Message);
        Assert.Empty(_harness.Leftovers(copy));
        Assert.Equal(await Templates.KeyOfAsync(spec, _harness.Deadline), await Templates.KeyOfAsync(copy, _harness.Deadline));
        Assert.NotEqual(
            await Templates.KeyOfAsync(spec, _harness.Deadline), await Templates.KeyOfAsync(spec with { MemoryMib = 512 }, _harness.Deadline));
    }

    [Fact]
    public async Task Copies_of_a_saved_guest_have_their_own_time_and_randomness()
    {
        var spec = _harness.NewSpec();
        var template = Directory.CreateDirectory(spec.RunDirectory + "-template").FullName;
        await Templates.BuildAsync(spec, template, _harness.Deadline);
        // One that began as a copy itself.
        spec = spec with { Template = new VmTemplate(template) };
        VmSnapshot saved;
        await using (var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline))
        {
            await using (var link = await _harness.ConnectAsync(vmm))
            {
                await link.SendAsync(new Configure(_harness.Configuration(_harness.RunForEver)), _harness.Deadline);
                Assert.IsType<WorkloadStarted>(await link.Messages.ReadAsync(_harness.Deadline));
            }
            await vmm.PauseAsync(_harness.Deadline);
            saved = await vmm.SnapshotAsync(spec.RunDirectory + "-saved", _harness.Deadline);
            await vmm.KillAsync(_harness.Deadline);
        }

        // Far from the host's, so that only who was told knows it.
        var told = TimeProvider.System.GetUtcNow().AddHours(5);
        var first = await GoOnAsync(spec, saved, told);
        var second = await GoOnAsync(spec, saved, told);

        Assert.InRange(long.Parse(first[0], CultureInfo.InvariantCulture), told.ToUnixTimeSeconds(), told.ToUnixTimeSeconds() + 60);
        Assert.Equal(32, first[1].Length);
        Assert.NotEqual(first[1], second[1]);

        var file = Directory.EnumerateFiles(saved.Directory).MaxBy(path => new FileInfo(path).Length)!;
        await using (var bytes = File.OpenWrite(file))
        {
            bytes.Position = bytes.Length - 1000;
            bytes.WriteByte(0xa5);
            bytes.WriteByte(0x5a);
        }
        var damaged = _harness.NewSpec() with { Drives = spec.Drives, Restore = saved };
        await Assert.ThrowsAnyAsync<VmmException>(() => _harness.Driver.LaunchAsync(damaged, _harness.Deadline));
        Assert.Empty(_harness.Leftovers(damaged));
    }

    private async Task<string[]> GoOnAsync(VmSpec spec, VmSnapshot saved, DateTimeOffset told)
    {
        var copy = _harness.NewSpec() with { Drives = spec.Drives, Restore = saved };
        await using var vmm = await _harness.Driver.LaunchAsync(copy, _harness.Deadline);
        await using var link = await _harness.ConnectAsync(vmm, new HostHello(LinkProtocol.MinimumVersion, LinkProtocol.Version, 0, 0)
        {
            Entropy = Convert.ToBase64String(RandomNumberGenerator.GetBytes(64)),
            UnixNanoseconds = (told - DateTimeOffset.UnixEpoch).Ticks * 100,
        });
        Assert.Equal(GuestPhase.Running, link.GuestHello.Phase);
        await using var reader = link.OpenRead(LinkStreams.ExecStdout(1));
        var process = new ProcessConfig
        {
            Arguments = ["/bin/busybox", "sh", "-c", "busybox date +%s; head -c 16 /dev/urandom | busybox hexdump -v -e '1/1 \"%02x\"'; echo"],
        };
        await link.SendAsync(new StartExec(1, process, HasStdin: false), _harness.Deadline);
        var lines = (await BootedGuest.ReadAsync(reader).WaitAsync(_harness.Deadline)).Split('\n');
        await vmm.KillAsync(_harness.Deadline);
        return lines;
    }

    private async Task<string> RunAsync(string directory)
    {
        const string Script =
            "head -n 1 /dev/vdb; head -n 1 /dev/vdc; cat /sys/class/block/vdc/size; busybox date +%s; "
            + "cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | busybox hexdump -v -e '1/1 \"%02x\"'; echo";
        await using var vmm = await _harness.Driver.LaunchAsync(_harness.NewSpec() with { Template = new VmTemplate(directory) }, _harness.Deadline);
        await using var link = await _harness.ConnectAsync(vmm);
        Assert.Equal(GuestPhase.Waiting, link.GuestHello.Phase);
        var config = _harness.Configuration(["/bin/busybox", "sh", "-c", Script]) with
        {
            Entropy = Convert.ToBase64String(RandomNumberGenerator.GetBytes(64)),
            UnixNanoseconds = (TimeProvider.System.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * 100,
        };
        await link.SendAsync(new Configure(config), _harness.Deadline);
        await using var reader = link.OpenRead(LinkStreams.Stdout);
        var lines = await BootedGuest.ReadAsync(reader).WaitAsync(_harness.Deadline);
        await vmm.KillAsync(_harness.Deadline);
        return lines;
    }
}
