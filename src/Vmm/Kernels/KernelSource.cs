using Ravel.Contracts.Api;
using Ravel.Linux.Processes;

namespace Ravel.Vmm.Kernels;

/// <summary>A package with a kernel's source.</summary>
/// <param name="Name">e.g. <c>linux-source-6.1</c>.</param>
/// <param name="Version">The package's.</param>
/// <param name="Sha256">Of the .deb, lower-case hexadecimal.</param>
public sealed record SourcePackage(string Name, string Version, string Sha256);

/// <summary>Where the source of the small kernel comes from. Stands at the boundary to the host's package manager.</summary>
public interface IKernelSource
{
    /// <summary>Programs and files it needs, as <see cref="BuildTool"/> has them.</summary>
    IReadOnlyList<BuildTool> Tools { get; }

    /// <exception cref="KernelException"><c>kernel-build-failed</c>: it is not known here; the message says what to do.</exception>
    Task<SourcePackage> LocateAsync(CancellationToken cancellationToken);

    /// <summary>Downloads the .deb into an empty directory and returns its path; the caller checks its digest.</summary>
    /// <exception cref="KernelException"><c>kernel-build-failed</c>.</exception>
    Task<string> DownloadAsync(SourcePackage package, string directory, CancellationToken cancellationToken);
}

/// <summary>Debian's package of the source, by apt-get(8) and apt-cache(8); nothing is installed.</summary>
public sealed class DebianKernelSource : IKernelSource
{
    private const string Package = "linux-source-6.1";
    private static readonly TimeSpan DownloadPatience = TimeSpan.FromMinutes(30);

    public IReadOnlyList<BuildTool> Tools { get; } = [new("apt-get", "apt"), new("apt-cache", "apt")];

    public async Task<SourcePackage> LocateAsync(CancellationToken cancellationToken)
    {
        try
        {
            var shown = await CommandRunner.RunAsync("apt-cache", ["show", "--no-all-versions", Package], cancellationToken: cancellationToken);
            if (shown.ExitCode != 0 || Parse(shown.Output) is not { } package)
                throw Failed($"{Package} is not in the package lists; run `apt-get update` (it is Debian 12's)");
            return package;
        }
        catch (CommandException e)
        {
            throw Failed(e.Message, e);
        }
    }

    public async Task<string> DownloadAsync(SourcePackage package, string directory, CancellationToken cancellationToken)
    {
        try
        {
            // apt-get downloads into the working directory. As root it would do so as another user, who may not write there.
            await CommandRunner.RunCheckedAsync(
                "env",
                ["--chdir", directory, "apt-get", "download", "--quiet", "-o", $"APT::Sandbox::User={Environment.UserName}", $"{package.Name}={package.Version}"],
                timeout: DownloadPatience,
                cancellationToken: cancellationToken);
        }
        catch (CommandException e)
        {
            throw Failed($"{package.Name} {package.Version} cannot be downloaded; run `apt-get update` and try again: {LastLine(e.Message)}", e);
        }
        return Directory.EnumerateFiles(directory, "*.deb").Single();
    }

    /// <summary>What apt-cache(8) prints of one version: fields <c>NAME: VALUE</c>.</summary>
    internal static SourcePackage? Parse(string text)
    {
        string? version = null;
        string? digest = null;
        foreach (var line in text.Split('\n'))
        {
            if (line.StartsWith("Version: ", StringComparison.Ordinal))
                version ??= line["Version: ".Length..].Trim();
            else if (line.StartsWith("SHA256: ", StringComparison.Ordinal))
                digest ??= line["SHA256: ".Length..].Trim();
        }
        return version is not null && digest is not null ? new SourcePackage(Package, version, digest) : null;
    }

    private static string LastLine(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1];

    private static KernelException Failed(string message, Exception? inner = null) =>
        new(ProblemCodes.KernelBuildFailed, $"The source of the kernel is not to be had: {message}.", inner);
}
