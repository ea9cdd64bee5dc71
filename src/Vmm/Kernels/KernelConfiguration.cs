using System.Text.RegularExpressions;

namespace Ravel.Vmm.Kernels;

/// <summary>The configuration of the small kernel, <c>small.config</c>: lines of a kernel's .config over its tinyconfig.</summary>
internal static partial class KernelConfiguration
{
    public static string Fragment { get; } = Read("small.config");

    /// <summary>Our lines in its source.</summary>
    public static IReadOnlyList<SourceAddition> Additions { get; } = [new("arch/x86/kernel/apic/apic.c", Read("apic.c"))];

    /// <summary>
    /// What the finished configuration does not say as the fragment does, a line each; empty when it holds. kconfig drops what a
    /// kernel does not know, or what depends on something that is off, without a word.
    /// </summary>
    public static IReadOnlyList<string> Differences(string fragment, string finished)
    {
        var settings = Settings(finished);
        return [.. Settings(fragment).Where(wanted => settings.GetValueOrDefault(wanted.Key, "n") != wanted.Value).Select(wanted => $"{wanted.Key}={wanted.Value}")];
    }

    /// <summary>An option that is off has the value <c>n</c>, and so has one that is not there.</summary>
    private static Dictionary<string, string> Settings(string text)
    {
        var settings = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (Match match in Setting().Matches(text))
        {
            var isOff = match.Groups["off"].Success;
            settings[(isOff ? match.Groups["off"] : match.Groups["on"]).Value] = isOff ? "n" : match.Groups["value"].Value;
        }
        return settings;
    }

    private static string Read(string name)
    {
        using var stream = typeof(KernelConfiguration).Assembly.GetManifestResourceStream(name)!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    [GeneratedRegex(@"^(?:(?<on>CONFIG_\w+)=(?<value>.+)|# (?<off>CONFIG_\w+) is not set)$", RegexOptions.Multiline)]
    private static partial Regex Setting();
}

/// <summary>Text that is put at the end of a file of the kernel's source.</summary>
/// <param name="File">Below the source's root; it has to be there.</param>
/// <param name="Text">Ours.</param>
internal sealed record SourceAddition(string File, string Text);
