using System.Runtime.InteropServices;
using Ravel.Testing.Images;

namespace Ravel.Bench.Results;

/// <summary>docs/benchmarks.md: one section per benchmark, replaced as a whole by <c>--write</c>.</summary>
internal static class BenchmarksPage
{
    public static string Path => System.IO.Path.Combine(RepositoryRoot.Path, "docs", "benchmarks.md");

    /// <param name="name">Of the benchmark; names the section.</param>
    /// <param name="command">What was typed after <c>./dev bench</c>.</param>
    /// <param name="explanation">What is measured from when to when.</param>
    /// <param name="table">From <see cref="ResultTable"/>.</param>
    /// <param name="cancellationToken">Ends reading or writing.</param>
    public static async Task WriteAsync(string name, string command, string explanation, string table, CancellationToken cancellationToken)
    {
        var section = $"`./dev bench {command}`\n\n{explanation}\n\n{table}\n{Machine()}";
        var page = await File.ReadAllTextAsync(Path, cancellationToken);
        await File.WriteAllTextAsync(Path, Replace(page, name, section), cancellationToken);
    }

    /// <summary>The page with the section of that name replaced, or added at its end.</summary>
    internal static string Replace(string page, string name, string section)
    {
        var heading = $"## {name}\n";
        var text = $"{heading}\n{section.TrimEnd()}\n";
        var start = page.IndexOf(heading, StringComparison.Ordinal);
        if (start < 0)
            return $"{page.TrimEnd()}\n\n{text}";
        var end = page.IndexOf("\n## ", start + heading.Length, StringComparison.Ordinal);
        return end < 0 ? page[..start] + text : page[..start] + text + page[end..];
    }

    private static string Machine()
    {
        var model = File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':', 2)[1].Trim() ?? RuntimeInformation.OSArchitecture.ToString();
        var accelerator = Directory.Exists("/sys/module/kvm_intel") || Directory.Exists("/sys/module/kvm_amd") ? "KVM" : "QEMU without KVM (TCG)";
        return $"Measured on {Environment.ProcessorCount} cores ({model}), {accelerator}, .NET {Environment.Version}.\n";
    }
}
