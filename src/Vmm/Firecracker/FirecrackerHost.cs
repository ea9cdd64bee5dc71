using System.Collections.Concurrent;
using System.Globalization;
using Ravel.Linux.Processes;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>Something about this host that Firecracker needs or that is worth knowing.</summary>
/// <param name="Problem">What, and its remedy.</param>
/// <param name="IsFatal">No VM can be launched.</param>
internal sealed record HostFinding(VmmProblem Problem, bool IsFatal);

/// <summary>
/// The programs on this host and what they can do, found out before a VM is made. What a program says of itself is kept until the file
/// changes: an upgrade under a running raveld counts from the next launch on.
/// </summary>
internal sealed class FirecrackerHost(VmmOptions options)
{
    /// <summary>The first with <c>track_dirty_pages</c> and <c>network_overrides</c> at <c>/snapshot/load</c> (CHANGELOG 1.12, 1.13).</summary>
    public static readonly Version Minimum = new(1, 13);

    /// <summary>The newest this driver was written against.</summary>
    public static readonly Version Newest = new(1, 17);

    private readonly ConcurrentDictionary<(string Path, DateTime Written, long Length, string Option), string> _said = new();

    /// <summary>The version of the programs.</summary>
    /// <exception cref="VmmException">The first thing that keeps VMs from being launched, with its remedy.</exception>
    public async Task<Version> RequireAsync(CancellationToken cancellationToken)
    {
        var (version, findings) = await ExamineAsync(cancellationToken).ConfigureAwait(false);
        return findings.FirstOrDefault(finding => finding.IsFatal)?.Problem is { } problem
            ? throw new VmmException($"firecracker cannot run VMs here: {problem.Message}; {problem.Remedy}")
            : version!;
    }

    /// <summary>All there is to say. The version is null only with a fatal finding.</summary>
    public async Task<(Version? Version, IReadOnlyList<HostFinding> Findings)> ExamineAsync(CancellationToken cancellationToken)
    {
        var findings = new List<HostFinding>();
        var version = await VersionAsync(
            "firecracker", options.Firecracker, "set RAVEL_FIRECRACKER to the binary of a Firecracker release", findings, cancellationToken)
            .ConfigureAwait(false);
        if (version is not null)
            findings.AddRange(Range(version));
        if (options.Jailer is not null)
        {
            var jailer = await VersionAsync(
                "jailer", options.Jailer, "set RAVEL_JAILER to the jailer of the same release", findings, cancellationToken)
                .ConfigureAwait(false);
            if (version is not null && jailer is not null && jailer != version)
            {
                findings.Add(Fatal(
                    "jailer", $"{options.Jailer} is version {jailer} and {options.Firecracker} is {version}", "take both from one release"));
            }
            if (!Environment.IsPrivilegedProcess)
                findings.Add(Fatal("jailer", "the jailer needs root", "run as root"));
        }
        if (OpenProblem(options.KvmDevice) is { } words)
        {
            findings.Add(Fatal(
                "kvm", words, "enable virtualisation, load kvm_intel or kvm_amd and let this user open it, or use RAVEL_VMM=qemu"));
        }
        return (version, findings);
    }

    /// <summary>What is to be said of a version of Firecracker.</summary>
    public static IEnumerable<HostFinding> Range(Version version)
    {
        if (version < Minimum)
            return [Fatal("firecracker", $"version {version} is older than {Minimum}", $"install Firecracker {Minimum} to {Newest}")];
        return new Version(version.Major, version.Minor) <= Newest
            ? []
            : [new HostFinding(
                new VmmProblem(
                    "firecracker", $"version {version} is newer than {Newest}, which this driver was written against", $"install Firecracker {Newest} if it misbehaves"),
                IsFatal: false)];
    }

    /// <summary>The format of snapshots this Firecracker reads and writes, as <c>11.0.0</c>.</summary>
    public Task<string> SnapshotFormatAsync(CancellationToken cancellationToken) => FormatAsync(cancellationToken, "--snapshot-version");

    /// <summary>The format of a snapshot's state file.</summary>
    public Task<string> DescribeSnapshotAsync(string stateFile, CancellationToken cancellationToken) =>
        FormatAsync(cancellationToken, "--describe-snapshot", stateFile);

    public string FindFirecracker() => Find(options.Firecracker);

    public string FindJailer() => Find(options.Jailer!);

    private static HostFinding Fatal(string subject, string message, string remedy) =>
        new(new VmmProblem(subject, message, remedy), IsFatal: true);

    private static string Find(string program) => Executable.Find(program) ?? throw new VmmException($"{program} is not there");

    private static string? OpenProblem(string device)
    {
        try
        {
            using var handle = File.OpenHandle(device, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"{device} cannot be opened: {e.Message}";
        }
    }

    private async Task<Version?> VersionAsync(
        string subject, string program, string remedy, List<HostFinding> findings, CancellationToken cancellationToken)
    {
        try
        {
            var words = await AskAsync(Find(program), "--version", cancellationToken).ConfigureAwait(false);
            return FirecrackerConfiguration.ParseVersion(words) ?? throw new VmmException($"{program} --version says no version: {words.Split('\n')[0]}");
        }
        catch (VmmException e)
        {
            findings.Add(Fatal(subject, e.Message, remedy));
            return null;
        }
    }

    private async Task<string> AskAsync(string path, string option, CancellationToken cancellationToken)
    {
        var file = new FileInfo(path);
        var key = (path, file.LastWriteTimeUtc, file.Exists ? file.Length : 0, option);
        if (_said.TryGetValue(key, out var known))
            return known;
        var words = await RunAsync(path, cancellationToken, option).ConfigureAwait(false);
        _said[key] = words;
        return words;
    }

    private async Task<string> FormatAsync(CancellationToken cancellationToken, params string[] arguments)
    {
        var path = FindFirecracker();
        var words = arguments.Length == 1
            ? await AskAsync(path, arguments[0], cancellationToken).ConfigureAwait(false)
            : await RunAsync(path, cancellationToken, arguments).ConfigureAwait(false);
        // A line of its own: log lines may stand around it.
        return words.Split('\n', StringSplitOptions.TrimEntries).FirstOrDefault(line => line.StartsWith('v') && Version.TryParse(line[1..], out _)) is { } line
            ? line[1..]
            : throw new VmmException(string.Create(CultureInfo.InvariantCulture, $"{path} {arguments[0]} says no version: {words.Split('\n')[0]}"));
    }

    private static async Task<string> RunAsync(string path, CancellationToken cancellationToken, params string[] arguments)
    {
        try
        {
            return await CommandRunner.RunCheckedAsync(path, arguments, cancellationToken: cancellationToken).ConfigureAwait(false);
        }
        catch (CommandException e)
        {
            throw new VmmException(e.Message, e);
        }
    }
}
