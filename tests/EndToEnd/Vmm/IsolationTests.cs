using Ravel.Linux.Processes;
using Ravel.Testing.Needs;
using Ravel.Testing.Vmm;
using Ravel.Vmm;

namespace Ravel.EndToEnd.Vmm;

/// <summary>What a QEMU that a guest has taken over could get at.</summary>
public sealed class IsolationTests : IAsyncLifetime
{
    private BootedGuestHarness _harness = null!;

    public async ValueTask InitializeAsync()
    {
        _harness = await BootedGuestHarness.CreateAsync(VmmOptions.FromEnvironment(Environment.GetEnvironmentVariable));
        Assert.SkipUnless(_harness.Driver.Name == "qemu", "a jail's confinement is tested with the jailer");
    }

    public async ValueTask DisposeAsync()
    {
        if (_harness is not null)
            await _harness.DisposeAsync();
    }

    [Fact]
    public async Task QEMU_has_its_own_user_no_rights_and_only_the_files_it_was_handed()
    {
        Need.Program("setpriv");
        var other = _harness.NewSpec();
        var spec = _harness.NewSpec();
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);

        await CheckAsync(vmm, spec, other);
    }

    [Fact]
    public async Task A_copy_of_a_template_and_its_maker_are_confined_as_any_other()
    {
        Need.Program("setpriv");
        var made = _harness.NewSpec();
        var directory = Directory.CreateDirectory(made.RunDirectory + "-template").FullName;
        await ((IVmTemplates)_harness.Driver).BuildAsync(made, directory, _harness.Deadline);
        var memory = System.IO.Path.Combine(directory, "memory");
        Assert.Equal(UnixFileMode.UserRead, File.GetUnixFileMode(memory));
        var spec = _harness.NewSpec() with { Template = new VmTemplate(directory) };
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);

        await CheckAsync(vmm, spec, _harness.NewSpec());
        // Its memory came from a file that is not the template's, and that takes no write.
        var files = OpenFilesOf(vmm);
        Assert.DoesNotContain(memory, files);
        var sealedMemory = Directory.GetFiles($"/proc/{vmm.Record.Pid}/fd").First(link => new FileInfo(link).LinkTarget!.StartsWith("/memfd:memory", StringComparison.Ordinal));
        using var opened = File.OpenHandle(sealedMemory, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        Assert.ThrowsAny<Exception>(() => RandomAccess.Write(opened, [1], 0));
        // Suspended and resumed it is one still.
        await vmm.PauseAsync(_harness.Deadline);
        var saved = await vmm.SnapshotAsync(spec.RunDirectory + "-saved", _harness.Deadline);
        await vmm.KillAsync(_harness.Deadline);
        var resumed = _harness.NewSpec() with { Drives = spec.Drives, Restore = saved };
        await using var again = await _harness.Driver.LaunchAsync(resumed, _harness.Deadline);

        await CheckAsync(again, resumed, _harness.NewSpec());
    }

    private async Task CheckAsync(IVmm vmm, VmSpec spec, VmSpec other)
    {
        var status = File.ReadLines($"/proc/{vmm.Record.Pid}/status").Select(line => line.Split(':', 2)).ToDictionary(parts => parts[0], parts => parts[1].Trim());
        var user = $"{spec.UserId}";
        var four = string.Join('\t', Enumerable.Repeat(user, 4));
        Assert.Equal((four, four, ""), (status["Uid"], status["Gid"], status["Groups"]));
        foreach (var name in (string[])["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
            Assert.Equal("0000000000000000", status[name]);
        Assert.Equal(("1", "2"), (status["NoNewPrivs"], status["Seccomp"]));
        var limits = File.ReadAllLines($"/proc/{vmm.Record.Pid}/limits");
        Assert.Contains(limits, line => line.StartsWith("Max core file size        0 ", StringComparison.Ordinal));
        Assert.Contains(limits, line => line.StartsWith("Max file size             65536 ", StringComparison.Ordinal));

        string[] handed = [spec.Boot.KernelPath, spec.Boot.InitramfsPath, .. spec.Drives.Select(drive => drive.Path), .. Of(spec.Restore?.Directory, "qemu.migration"), .. Of(spec.Template?.Directory, "state")];
        var files = OpenFilesOf(vmm).Where(path => path.StartsWith('/') && !path.StartsWith("/dev/", StringComparison.Ordinal) && !path.StartsWith("/memfd:", StringComparison.Ordinal));
        Assert.Empty(files.Where(path => path != System.IO.Path.Combine(spec.RunDirectory, "output")).Except(handed));

        // What it can open besides: as its user, the other's run directory and its own, and neither's disks.
        var reach = await CommandRunner.RunAsync(
            "setpriv",
            [
                "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--",
                "sh", "-c", "for file in \"$@\"; do ls \"$file\" 2> /dev/null; head -c 1 \"$file\" 2> /dev/null; : 2> /dev/null >> \"$file\" && echo written; done; true", "sh",
                spec.RunDirectory, other.RunDirectory, .. spec.Drives.Concat(other.Drives).Select(drive => drive.Path).Where(path => path.StartsWith(System.IO.Path.GetDirectoryName(spec.RunDirectory)!, StringComparison.Ordinal)),
            ]);
        Assert.Equal("", reach.Output);

        static IEnumerable<string> Of(string? directory, string file) => directory is null ? [] : [System.IO.Path.Combine(directory, file)];
    }

    private static List<string> OpenFilesOf(IVmm vmm) =>
        [.. Directory.GetFiles($"/proc/{vmm.Record.Pid}/fd").Select(link => new FileInfo(link).LinkTarget ?? "")];
}
