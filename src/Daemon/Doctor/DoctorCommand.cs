using System.Diagnostics;
using System.Text.Json;
using Ravel.Agent.Networking;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Vmm;
using Ravel.Vmm.Boot;

namespace Ravel.Daemon.Doctor;

/// <summary>
/// <c>raveld doctor</c>: looks at everything a machine needs, then boots a guest to its init to prove it. Each finding comes
/// with what mends it. Changes nothing that stays.
/// </summary>
internal static class DoctorCommand
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(60);

    public static async Task<int> RunAsync(string[] args)
    {
        var isJson = args.Contains("--json", StringComparer.Ordinal);
        var isQuick = args.Contains("--no-boot", StringComparer.Ordinal);
        if (!SettingSources.TryLoad([.. args.Where(arg => arg is not ("--json" or "--no-boot"))], out var sources, out var rest, out var error)
            || !RunOptions.TryParse(rest, sources, out var options, out error))
        {
            Console.Error.WriteLine(error.Replace("raveld run", "raveld doctor", StringComparison.Ordinal));
            return Usage.ExitCode;
        }

        var report = await ExamineAsync(options, isQuick, CancellationToken.None);
        Console.Out.WriteLine(isJson ? JsonSerializer.Serialize(report, DoctorJson.Default.DoctorReport) : Text(report));
        return report.IsUsable ? 0 : 1;
    }

    private static async Task<DoctorReport> ExamineAsync(RunOptions options, bool isQuick, CancellationToken cancellationToken)
    {
        var driver = VmmDrivers.Create(VmmOptions.FromEnvironment(Environment.GetEnvironmentVariable) with { Driver = options.Vmm });
        List<DoctorCheck> checks =
        [
            HostChecks.Platform(),
            HostChecks.Privileges(),
            .. await VmmAsync(driver, cancellationToken),
            Kernel(options),
            .. await NetworkAsync(cancellationToken),
            await HostChecks.FileSystemToolAsync(cancellationToken),
            HostChecks.Disk(options.DataDirectory),
        ];
        if (!isQuick)
        {
            checks.Add(checks.Exists(check => check.Status == DoctorStatus.Fail)
                ? new DoctorCheck("boot", DoctorStatus.Warn, "not tried, since something it needs is missing", "mend the above first")
                : await BootAsync(driver, options, cancellationToken));
        }
        return new DoctorReport(checks);
    }

    private static async Task<IReadOnlyList<DoctorCheck>> VmmAsync(IVmmDriver driver, CancellationToken cancellationToken)
    {
        var probe = await driver.ProbeAsync(cancellationToken);
        List<DoctorCheck> checks =
            [.. probe.Problems.Select(p => new DoctorCheck(p.Subject, probe.Available ? DoctorStatus.Warn : DoctorStatus.Fail, p.Message, p.Remedy))];
        if (probe.Available)
            checks.Insert(0, new DoctorCheck(driver.Name, DoctorStatus.Ok, $"{probe.Version}, running guests by {probe.Accelerator}"));
        return checks;
    }

    private static DoctorCheck Kernel(RunOptions options)
    {
        try
        {
            var kernel = new KernelCatalog(options.KernelDirectory).Find();
            return new("guest kernel", DoctorStatus.Ok, $"{kernel.Release} at {kernel.Path}");
        }
        catch (VmmException e)
        {
            return new("guest kernel", DoctorStatus.Fail, e.Message, "./dev setup, or name one with --kernel");
        }
    }

    private static async Task<IReadOnlyList<DoctorCheck>> NetworkAsync(CancellationToken cancellationToken)
    {
        var findings = await NetworkDiagnosis.DiagnoseAsync(new NodeNetworkOptions(), cancellationToken);
        return findings.Count == 0
            ? [new DoctorCheck("network", DoctorStatus.Ok, "taps, forwarding, nftables and a nameserver are there")]
            : [.. findings.Select(f => new DoctorCheck(f.Subject, f.IsProblem ? DoctorStatus.Fail : DoctorStatus.Warn, f.Message, f.Remedy))];
    }

    /// <summary>The proof: a VM of this host's driver, kernel and init that says hello over the link.</summary>
    private static async Task<DoctorCheck> BootAsync(IVmmDriver driver, RunOptions options, CancellationToken cancellationToken)
    {
        var scratch = Directory.CreateTempSubdirectory("ravel-doctor-").FullName;
        var id = $"doctor-{Environment.ProcessId}";
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(BootLimit);
        try
        {
            var boot = await new GuestBoot(new KernelCatalog(options.KernelDirectory), scratch, options.InitPath).PrepareAsync(deadline.Token);
            var begun = Stopwatch.GetTimestamp();
            await using var vmm = await driver.LaunchAsync(
                new VmSpec { Id = id, RunDirectory = scratch, Cpus = 1, MemoryMib = 256, Boot = boot, Cgroup = id }, deadline.Token);
            var channel = await vmm.ConnectGuestAsync(deadline.Token);
            await using var link = await HostLink.ConnectAsync(
                channel.Stream, channel.IsLossy, new HostHello(LinkProtocol.MinimumVersion, LinkProtocol.Version, 0, 0), deadline.Token);
            var took = Stopwatch.GetElapsedTime(begun);
            return new("boot", DoctorStatus.Ok, $"a guest with kernel {link.GuestHello.Kernel} answered after {took.TotalSeconds:0.0} s");
        }
        catch (Exception e) when (e is VmmException or LinkException or IOException or OperationCanceledException)
        {
            var reason = e is OperationCanceledException ? $"no answer within {BootLimit.TotalSeconds:0} s" : e.Message;
            return new("boot", DoctorStatus.Fail, $"a guest did not come up: {reason}", "see the checks above; try another --vmm or --kernel");
        }
        finally
        {
            await driver.PurgeAsync(id, scratch, CancellationToken.None);
            Directory.Delete(scratch, recursive: true);
        }
    }

    private static string Text(DoctorReport report) => string.Join('\n', report.Checks.Select(check =>
        $"{check.Status switch { DoctorStatus.Ok => "ok  ", DoctorStatus.Warn => "warn", _ => "FAIL" }}  {check.Subject}: {check.Message}"
        + (check.Remedy is null ? "" : $"\n      -> {check.Remedy}")));
}
