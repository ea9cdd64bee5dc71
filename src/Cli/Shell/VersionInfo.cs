using System.Reflection;

namespace Ravel.Cli.Shell;

/// <summary>What <c>version --json</c> prints.</summary>
internal sealed record VersionInfo(string Version)
{
    /// <summary>The version of this build.</summary>
    public static VersionInfo OfThis { get; } = new(
        typeof(VersionInfo).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "unknown");
}
