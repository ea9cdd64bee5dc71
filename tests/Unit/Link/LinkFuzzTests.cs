using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Ravel.Testing.Link;
using Ravel.Testing.Repository;

namespace Ravel.Unit.Link;

/// <summary>
/// A short run of the link's fuzzer (the long one is <c>./dev test soak LinkFuzz</c>), and its corpus: for each reason a session was
/// ever ended for, the shortest conversation that was. Its lines are the reason, the seed, and the bytes as base64.
/// </summary>
public sealed class LinkFuzzTests
{
    private static readonly string Corpus = Path.Combine(SourceTree.Root, "tests", "Unit", "Link", "Corpus");

    /// <summary>The guest was gone before the host had said all it wanted to.</summary>
    private const string Closed = "the channel to the guest failed: Broken pipe";

    /// <summary>As many as two to four seconds take.</summary>
    private const int Seeds = 5000;

    /// <summary>Of the reasons that so many seeds end for: most of them, as which violation is seen first may depend on timing.</summary>
    private const int MinReasons = 12;

    public static TheoryData<string> Conversations =>
        [.. Directory.EnumerateFiles(Corpus, "*.txt").Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];

    [Fact]
    public async Task Hostile_conversations_end_in_time_and_in_a_reason()
    {
        var reasons = new HashSet<string>(StringComparer.Ordinal);
        for (var seed = 0; seed < Seeds; seed++)
        {
            var outcome = await LinkFuzzer.RunAsync(LinkFuzzer.Generate(seed), seed);
            Assert.False(string.IsNullOrWhiteSpace(outcome.Reason), $"seed {seed} ended for no reason");
            reasons.Add(outcome.Reason);
        }
        Assert.True(reasons.Count >= MinReasons, $"{reasons.Count} reasons: {string.Join("; ", reasons)}");
    }

    [Theory]
    [MemberData(nameof(Conversations))]
    public async Task A_conversation_of_the_corpus_ends_for_a_reason_that_is_known(string file)
    {
        var lines = await File.ReadAllLinesAsync(Path.Combine(Corpus, file), TestContext.Current.CancellationToken);
        var outcome = await LinkFuzzer.RunAsync(Convert.FromBase64String(lines[2]), int.Parse(lines[1]));
        // Mostly the same as before; which violation is seen first may depend on what the host had sent by then.
        Assert.Contains(outcome.Reason, Directory.EnumerateFiles(Corpus, "*.txt").Select(path => File.ReadLines(path).First()).Append(Closed));
    }

    /// <summary>Live memory may not grow by more than this in a whole run: far more than one session's bounds, far less than a leak.</summary>
    private const long MaxGrowth = 64 << 20;

    /// <summary>
    /// <c>RAVEL_FUZZ_SECONDS</c> (600) long, from <c>RAVEL_FUZZ_SEED</c> (a random one) on. With <c>RAVEL_WRITE_CORPUS=1</c>, the shortest
    /// conversation for each reason goes into the corpus that the unit suite replays.
    /// </summary>
    [Fact(Explicit = true)]
    [Trait("Kind", "Soak")]
    public async Task Hostile_conversations_never_hang_crash_or_fill_the_host()
    {
        var length = TimeSpan.FromSeconds(Number("RAVEL_FUZZ_SECONDS") ?? 600);
        var first = Number("RAVEL_FUZZ_SEED") ?? RandomNumberGenerator.GetInt32(int.MaxValue / 2);
        Exception? unobserved = null;
        var shortest = new SortedDictionary<string, (int Seed, byte[] Bytes, int Count)>(StringComparer.Ordinal);
        var begin = Stopwatch.GetTimestamp();
        long? memory = null;
        var seed = first;
        EventHandler<UnobservedTaskExceptionEventArgs> observe = (_, e) => unobserved ??= e.Exception;
        TaskScheduler.UnobservedTaskException += observe;
        try
        {
            for (; Stopwatch.GetElapsedTime(begin) < length; seed++)
            {
                var outcome = await LinkFuzzer.RunAsync(LinkFuzzer.Generate(seed), seed);
                var known = shortest.TryGetValue(outcome.Reason, out var best);
                shortest[outcome.Reason] = !known || outcome.Bytes.Length < best.Bytes.Length
                    ? (seed, outcome.Bytes, best.Count + 1)
                    : best with { Count = best.Count + 1 };
                if ((seed - first) % 2000 == 1999)
                    AssertClean();
            }
            AssertClean();
        }
        finally
        {
            TaskScheduler.UnobservedTaskException -= observe;
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{seed - first} conversations from seed {first} in {Stopwatch.GetElapsedTime(begin).TotalSeconds:0} s");
        foreach (var (reason, (_, bytes, count)) in shortest)
            TestContext.Current.TestOutputHelper?.WriteLine($"{count,8} {bytes.Length,6} B  {reason}");
        if (Environment.GetEnvironmentVariable("RAVEL_WRITE_CORPUS") == "1")
            await WriteCorpusAsync(shortest);

        void AssertClean()
        {
            var live = GC.GetTotalMemory(forceFullCollection: true);
            memory ??= live;
            Assert.True(live - memory < MaxGrowth, $"live memory grew from {memory} to {live} bytes by seed {seed}");
            Assert.Null(unobserved);
        }
    }

    private static async Task WriteCorpusAsync(SortedDictionary<string, (int Seed, byte[] Bytes, int Count)> shortest)
    {
        Directory.CreateDirectory(Corpus);
        foreach (var (reason, (seed, bytes, _)) in shortest)
        {
            if (bytes.Length > 4096 || reason == Closed)
                continue;
            var name = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(reason)))[..12];
            await File.WriteAllTextAsync(Path.Combine(Corpus, $"{name}.txt"), $"{reason}\n{seed}\n{Convert.ToBase64String(bytes)}\n");
        }
    }

    private static int? Number(string variable) => int.TryParse(Environment.GetEnvironmentVariable(variable), out var number) ? number : null;
}
