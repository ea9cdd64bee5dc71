using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Ravel.Contracts.Api;
using Ravel.Linux.Files;
using Ravel.Linux.Processes;

namespace Ravel.Vmm.Kernels;

/// <summary>What a build would be made of.</summary>
/// <param name="Package">The source.</param>
/// <param name="Key">Digest of source, configuration, compiler and recipe: the same key gives the same kernel.</param>
public sealed record KernelBuildPlan(SourcePackage Package, string Key);

/// <summary>
/// Builds the small guest kernel. The steps, each of which is complete or not there, so that a build that was killed goes on
/// where it was:
/// <list type="number">
/// <item><c>source.deb</c>: downloaded, its digest compared, renamed;</item>
/// <item><c>source/</c>: unpacked beside, our lines added, renamed;</item>
/// <item><c>objects/.config</c>: tinyconfig, our lines, olddefconfig; compared with our lines, renamed;</item>
/// <item><c>vmlinux</c>: make, which knows what it has done; stripped.</item>
/// </list>
/// All of it is in a directory named by the plan's key. The programs run below flock(1): when Ravel is killed they run on,
/// and the next build waits for them.
/// </summary>
public sealed class KernelBuilder
{
    /// <summary>The name it is installed under.</summary>
    public const string Name = "small";

    /// <summary>The file a build leaves.</summary>
    public const string FileName = "vmlinux";

    /// <summary>Changes with the steps below whenever the same inputs would give another kernel.</summary>
    private const int Recipe = 1;

    /// <summary>Steps make prints for this configuration, about; for the progress bar only.</summary>
    private const int TypicalLines = 1770;

    /// <summary>Source, objects and room to spare.</summary>
    private const long BytesNeeded = 3L * 1024 * 1024 * 1024;

    private static readonly TimeSpan StepPatience = TimeSpan.FromMinutes(30);
    private static readonly TimeSpan MakePatience = TimeSpan.FromHours(3);

    private readonly IKernelSource _source;
    private readonly string _directory;
    private readonly IReadOnlyList<BuildTool> _tools;
    private readonly string _fragment;
    private readonly IReadOnlyList<SourceAddition> _additions;
    private readonly long _bytesNeeded;

    /// <param name="source">Where the source comes from.</param>
    /// <param name="directory">For downloads and objects; made if missing, emptied by <see cref="CleanUp"/>.</param>
    public KernelBuilder(IKernelSource source, string directory)
        : this(source, directory, BuildTool.ForKernels, KernelConfiguration.Fragment, KernelConfiguration.Additions, BytesNeeded)
    {
    }

    internal KernelBuilder(
        IKernelSource source, string directory, IReadOnlyList<BuildTool> tools, string fragment, IReadOnlyList<SourceAddition> additions, long bytesNeeded)
    {
        _source = source;
        _directory = directory;
        _tools = tools;
        _fragment = fragment;
        _additions = additions;
        _bytesNeeded = bytesNeeded;
    }

    /// <exception cref="KernelException"><c>kernel-build-failed</c>: a tool or the source is missing.</exception>
    public async Task<KernelBuildPlan> PlanAsync(CancellationToken cancellationToken)
    {
        BuildTool.Require(_source.Tools.Concat(_tools));
        var package = await _source.LocateAsync(cancellationToken);
        var inputs = string.Join(
            '\n',
            string.Create(CultureInfo.InvariantCulture, $"recipe {Recipe}"),
            $"source {package.Name} {package.Version} {package.Sha256}",
            $"configuration {Digest(_fragment)}",
            $"additions {Digest(string.Concat(_additions.Select(addition => $"{addition.File}\n{addition.Text}")))}",
            $"compiler {await FirstLineAsync("gcc", cancellationToken)}",
            $"linker {await FirstLineAsync("ld", cancellationToken)}");
        return new KernelBuildPlan(package, Digest(inputs));
    }

    /// <summary>Leaves the kernel in <paramref name="target"/> as <see cref="FileName"/>.</summary>
    /// <exception cref="KernelException"><c>kernel-build-failed</c>, <c>disk-full</c>.</exception>
    public async Task BuildAsync(KernelBuildPlan plan, string target, IProgress<KernelBuildProgress>? progress, CancellationToken cancellationToken)
    {
        var work = Directory.CreateDirectory(Path.Combine(_directory, plan.Key[..16])).FullName;
        try
        {
            RequireSpace(work);
            await WaitAsync(progress, cancellationToken);
            RemoveOthers(work);
            await DownloadAsync(plan, work, progress, cancellationToken);
            await UnpackAsync(work, progress, cancellationToken);
            await ConfigureAsync(plan, work, progress, cancellationToken);
            await CompileAsync(work, progress, cancellationToken);
            var stripped = Path.Combine(target, FileName);
            await RunAsync(["strip", "--strip-all", "-o", stripped, Path.Combine(work, "objects", FileName)], "stripping", cancellationToken);
        }
        catch (IOException e) when (e.Message.Contains("No space left", StringComparison.Ordinal))
        {
            throw Full(work, e);
        }
    }

    /// <summary>Removes what builds left, unless one still runs.</summary>
    public void CleanUp()
    {
        if (!Directory.Exists(_directory))
            return;
        using var held = FileLock.TryAcquire(LockFile);
        if (held is null)
            return;
        foreach (var path in Directory.EnumerateDirectories(_directory))
            Directory.Delete(path, recursive: true);
    }

    /// <summary>For the programs of a build that was cut off, if they still run.</summary>
    private async Task WaitAsync(IProgress<KernelBuildProgress>? progress, CancellationToken cancellationToken)
    {
        using (var free = FileLock.TryAcquire(LockFile))
        {
            if (free is not null)
                return;
        }
        progress?.Report(new KernelBuildProgress("wait"));
        await RunAsync(["true"], "waiting for a build that was cut off", cancellationToken);
    }

    private string LockFile => Path.Combine(_directory, "lock");

    /// <summary>Another source, configuration or compiler: nobody goes on with those.</summary>
    private void RemoveOthers(string work)
    {
        foreach (var path in Directory.EnumerateDirectories(_directory).Where(path => path != work))
            Directory.Delete(path, recursive: true);
    }

    private async Task DownloadAsync(KernelBuildPlan plan, string work, IProgress<KernelBuildProgress>? progress, CancellationToken cancellationToken)
    {
        var package = Path.Combine(work, "source.deb");
        if (File.Exists(package))
            return;
        progress?.Report(new KernelBuildProgress("source"));
        var downloads = NewDirectory(work, "download");
        var path = await _source.DownloadAsync(plan.Package, downloads, cancellationToken);
        await using (var file = File.OpenRead(path))
        {
            var digest = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
            if (digest != plan.Package.Sha256)
                throw Failed($"{plan.Package.Name} {plan.Package.Version} arrived with the digest {digest} instead of {plan.Package.Sha256}; try again");
        }
        File.Move(path, package);
        Directory.Delete(downloads, recursive: true);
    }

    /// <summary>The package holds one tar, which holds one directory.</summary>
    private async Task UnpackAsync(string work, IProgress<KernelBuildProgress>? progress, CancellationToken cancellationToken)
    {
        var source = Path.Combine(work, "source");
        if (Directory.Exists(source))
            return;
        progress?.Report(new KernelBuildProgress("unpack"));
        var package = NewDirectory(work, "package");
        await RunAsync(["dpkg-deb", "--extract", Path.Combine(work, "source.deb"), package], "unpacking the package", cancellationToken);
        var archive = Directory.EnumerateFiles(package, "linux-source-*.tar.xz", SearchOption.AllDirectories).FirstOrDefault()
            ?? throw Failed("the package holds no linux-source-*.tar.xz");
        var tree = NewDirectory(work, "tree");
        await RunAsync(["tar", "--extract", "--no-same-owner", "--strip-components=1", "--directory", tree, "--file", archive], "unpacking the source", cancellationToken);
        foreach (var addition in _additions)
        {
            var file = Path.Combine(tree, addition.File);
            if (!File.Exists(file))
                throw Failed($"the source has no {addition.File}");
            await File.AppendAllTextAsync(file, addition.Text, cancellationToken);
        }
        Directory.Move(tree, source);
        Directory.Delete(package, recursive: true);
    }

    private async Task ConfigureAsync(KernelBuildPlan plan, string work, IProgress<KernelBuildProgress>? progress, CancellationToken cancellationToken)
    {
        var objects = Path.Combine(work, "objects");
        if (File.Exists(Path.Combine(objects, ".config")))
            return;
        progress?.Report(new KernelBuildProgress("configure"));
        var scratch = NewDirectory(work, "configuration");
        await MakeAsync(work, scratch, ["tinyconfig"], "configuring", null, cancellationToken);
        // The last word counts.
        var configuration = Path.Combine(scratch, ".config");
        await File.AppendAllTextAsync(configuration, "\n" + _fragment, cancellationToken);
        await MakeAsync(work, scratch, ["olddefconfig"], "configuring", null, cancellationToken);
        var differences = KernelConfiguration.Differences(_fragment, await File.ReadAllTextAsync(configuration, cancellationToken));
        if (differences.Count > 0)
            throw Failed($"the source of {plan.Package.Name} {plan.Package.Version} does not take {string.Join(", ", differences)}");
        Directory.CreateDirectory(objects);
        File.Move(configuration, Path.Combine(objects, ".config"));
        Directory.Delete(scratch, recursive: true);
    }

    private async Task CompileAsync(string work, IProgress<KernelBuildProgress>? progress, CancellationToken cancellationToken)
    {
        var lines = 0;
        progress?.Report(new KernelBuildProgress("compile", 0, TypicalLines));
        await MakeAsync(
            work,
            Path.Combine(work, "objects"),
            [string.Create(CultureInfo.InvariantCulture, $"-j{Environment.ProcessorCount}"), FileName],
            "compiling",
            line =>
            {
                // "  CC      init/main.o"
                if (line.StartsWith("  ", StringComparison.Ordinal))
                    progress?.Report(new KernelBuildProgress("compile", Math.Min(++lines, TypicalLines), TypicalLines));
            },
            cancellationToken);
    }

    /// <summary>
    /// In an environment of its own, whose words would otherwise reach the compiler; and with the things a kernel writes down about
    /// its making fixed (kernel: Documentation/kbuild/reproducible-builds.rst).
    /// </summary>
    private Task MakeAsync(
        string work, string objects, IReadOnlyList<string> arguments, string doing, Action<string>? onLine, CancellationToken cancellationToken) => RunAsync(
        [
            "env", "-i", "LC_ALL=C", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970", "KBUILD_BUILD_USER=ravel", "KBUILD_BUILD_HOST=ravel", "KBUILD_BUILD_VERSION=1",
            // Machines come first.
            "nice", "-n", "19", "make", "-C", Path.Combine(work, "source"), $"O={objects}", "ARCH=x86_64", .. arguments,
        ],
        doing,
        cancellationToken,
        onLine);

    private async Task RunAsync(IReadOnlyList<string> command, string doing, CancellationToken cancellationToken, Action<string>? onLine = null)
    {
        CommandResult result;
        try
        {
            result = await CommandRunner.RunAsync(
                "flock", [LockFile, .. command], onLine ?? (_ => { }), onLine is null ? StepPatience : MakePatience, cancellationToken);
        }
        catch (CommandException e)
        {
            throw Failed($"{doing}: {e.Message}", e);
        }
        if (result.ExitCode == 0)
            return;
        var log = Path.Combine(_directory, "failed.log");
        await File.WriteAllTextAsync(log, result.Output + result.Error, cancellationToken);
        if (result.Error.Contains("No space left on device", StringComparison.Ordinal))
            throw Full(_directory);
        var words = result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var cause = words.FirstOrDefault(line => line.Contains("rror", StringComparison.Ordinal)) ?? words.LastOrDefault() ?? "it printed no reason";
        throw Failed($"{doing} failed: {cause.Trim()} (all of it: {log})");
    }

    private void RequireSpace(string work)
    {
        var free = new DriveInfo(work).AvailableFreeSpace;
        if (free < _bytesNeeded && !Directory.Exists(Path.Combine(work, "objects")))
            throw Full(work);
    }

    private static string Digest(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private static string NewDirectory(string work, string name)
    {
        var path = Path.Combine(work, name);
        if (Directory.Exists(path))
            Directory.Delete(path, recursive: true);
        return Directory.CreateDirectory(path).FullName;
    }

    private static async Task<string> FirstLineAsync(string program, CancellationToken cancellationToken)
    {
        try
        {
            return (await CommandRunner.RunCheckedAsync(program, ["--version"], cancellationToken: cancellationToken)).Split('\n')[0];
        }
        catch (CommandException e)
        {
            throw Failed(e.Message, e);
        }
    }

    private KernelException Full(string where, Exception? inner = null) =>
        new(ProblemCodes.DiskFull, $"Building a kernel takes {_bytesNeeded >> 20} MiB of room in {where}.", inner);

    private static KernelException Failed(string message, Exception? inner = null) =>
        new(ProblemCodes.KernelBuildFailed, $"The kernel could not be built: {message}.", inner);
}
