using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Ravel.Testing.Images;
using Ravel.Testing.Images.Fuzzing;

namespace Ravel.Unit.Images;

/// <summary>
/// Readers of strangers' bytes against mutated ones: they accept or refuse, and never crash, hang or take memory without measure. What
/// was found once, and the shortest input for each answer that was seen, stands in the corpus (<c>Corpus/TARGET/</c>) and is read here for ever.
/// </summary>
public sealed class FuzzTests
{
    private const int ShortRun = 600;
    private const int Seed = 20240607;

    private static readonly FuzzTarget[] All =
    [
        new TarTarget(), new MergeTarget(), new InflateTarget(), new LayerTarget(), new ManifestTarget(), new ImageArchiveTarget(), new TextTarget(),
    ];

    public static TheoryData<string> Targets => [.. All.Select(target => target.Name)];

    public static TheoryData<string> SoakTargets =>
        [.. Targets.Select(row => row.Data).Where(name => Environment.GetEnvironmentVariable("RAVEL_FUZZ_TARGET") is not { Length: > 0 } only || name == only)];

    [Theory]
    [MemberData(nameof(Targets))]
    public void Made_inputs_are_read_or_refused(string target)
    {
        var report = Run(target, Seed, count => count < ShortRun, out _);
        // Seeds alone are not fuzzing: answers have to differ, and some inputs have to pass.
        Assert.InRange(report.Answers, 5, int.MaxValue);
        Assert.InRange(report.Accepted, 1, report.Inputs - 1);
    }

    [Theory]
    [MemberData(nameof(Targets))]
    public void The_corpus_is_read_or_refused(string target)
    {
        var fuzzer = new Fuzzer(Find(target), Seed);
        var report = new FuzzReport(target);
        foreach (var file in Directory.EnumerateFiles(CorpusOf(target)).Order(StringComparer.Ordinal))
            fuzzer.Try(File.ReadAllBytes(file), report);
        Assert.InRange(report.Inputs, 1, long.MaxValue);
    }

    /// <summary>All or <c>RAVEL_FUZZ_TARGET</c>, each for as long as <c>RAVEL_FUZZ_SECONDS</c> says (600), from a seed that <c>RAVEL_FUZZ_SEED</c> sets or the clock. With <c>RAVEL_WRITE_CORPUS=1</c> the corpus is written anew, findings aside.</summary>
    [Theory(Explicit = true)]
    [Trait("Kind", "Soak")]
    [MemberData(nameof(SoakTargets))]
    public void Soak(string target)
    {
        var seconds = Setting("RAVEL_FUZZ_SECONDS", 600);
        var seed = Setting("RAVEL_FUZZ_SEED", (int)(TimeProvider.System.GetUtcNow().ToUnixTimeSeconds() & int.MaxValue));
        var began = Stopwatch.GetTimestamp();
        var report = Run(target, seed, _ => Stopwatch.GetElapsedTime(began).TotalSeconds < seconds, out var shortest);
        if (Environment.GetEnvironmentVariable("RAVEL_WRITE_CORPUS") == "1")
            WriteCorpus(target, shortest);
        TestContext.Current.SendDiagnosticMessage("{0} (seed {1}, {2} s)", report, seed, seconds);
        Directory.CreateDirectory(FindingsDirectory);
        File.AppendAllText(Path.Combine(FindingsDirectory, "reports.txt"), $"{report} (seed {seed}, {seconds} s)\n");
    }

    private static string CorpusOf(string target) => Path.Combine(RepositoryRoot.Path, "tests", "Unit", "Images", "Corpus", target);

    private static string FindingsDirectory => Path.Combine(RepositoryRoot.Path, "artifacts", "fuzz");

    private static FuzzTarget Find(string name) => All.Single(target => target.Name == name);

    private static void WriteCorpus(string target, IEnumerable<byte[]> inputs)
    {
        const int MostBytes = 6000;
        const int MostInputs = 64;
        var directory = Directory.CreateDirectory(CorpusOf(target)).FullName;
        foreach (var old in Directory.EnumerateFiles(directory, "answer-*"))
            File.Delete(old);
        foreach (var input in inputs.Where(input => input.Length <= MostBytes).OrderBy(input => input.Length).Take(MostInputs))
            File.WriteAllBytes(Path.Combine(directory, $"answer-{Convert.ToHexStringLower(SHA256.HashData(input))[..12]}"), input);
    }

    private static FuzzReport Run(string target, int seed, Func<long, bool> goOn, out IEnumerable<byte[]> shortest)
    {
        Directory.CreateDirectory(FindingsDirectory);
        var current = Path.Combine(FindingsDirectory, $"{target}.current");
        try
        {
            var fuzzer = new Fuzzer(Find(target), seed) { CurrentInputFile = current };
            var report = fuzzer.Run(goOn);
            shortest = fuzzer.Shortest;
            File.Delete(current);
            return report;
        }
        catch (FuzzFindingException finding)
        {
            var file = Path.Combine(FindingsDirectory, $"{target}-{finding.FileName}");
            File.WriteAllBytes(file, finding.Input);
            File.Delete(current);
            throw;
        }
    }

    private static int Setting(string name, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : otherwise;
}
