using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Ravel.Images;

namespace Ravel.Testing.Images.Fuzzing;

/// <summary>
/// Feeds a target inputs made from valid ones, by a seed: the same seed and count make the same inputs. It does not see which
/// code runs, but which answers come: an input with an answer not seen before joins the pool.
/// </summary>
public sealed class Fuzzer(FuzzTarget target, int seed)
{
    private const int MaxPool = 2000;
    private const int MaxInput = 1 << 20;

    /// <summary>An input that keeps its reader busy this long is one that hangs it, on however busy a machine.</summary>
    private static readonly TimeSpan MaxTime = TimeSpan.FromSeconds(60);

    private static readonly SearchValues<string> Places = SearchValues.Create([" (at ", " (behind ", "is not JSON"], StringComparison.Ordinal);

    private readonly Random _random = new(seed);
    private readonly List<byte[]> _pool = [.. target.Seeds];
    private readonly Dictionary<string, byte[]> _answers = [];

    /// <summary>Where the input under way is kept, so that one that kills the process is not lost; null: nowhere.</summary>
    public string? CurrentInputFile { get; init; }

    /// <summary>The shortest input for each answer that came.</summary>
    public IEnumerable<byte[]> Shortest => _answers.Values;

    /// <summary>Reads the target's seeds, then made inputs while <paramref name="goOn"/> says so of their number.</summary>
    /// <exception cref="FuzzFindingException">An input made the target do what it must not.</exception>
    public FuzzReport Run(Func<long, bool> goOn)
    {
        var report = new FuzzReport(target.Name);
        foreach (var input in target.Seeds)
            Try(input, report);
        while (goOn(report.Inputs))
        {
            var input = target.Mutate(_random, _pool[_random.Next(_pool.Count)], _pool);
            if (input.Length > MaxInput)
                input = input[..MaxInput];
            if (Try(input, report) && _pool.Count < MaxPool)
                _pool.Add(input);
        }
        report.Answers = _answers.Count;
        return report;
    }

    /// <summary>Reads one input and holds it to the rules.</summary>
    /// <returns>Whether the answer is a new one.</returns>
    public bool Try(byte[] input, FuzzReport report)
    {
        if (CurrentInputFile is not null)
            File.WriteAllBytes(CurrentInputFile, input);
        report.Inputs++;
        var allocated = GC.GetAllocatedBytesForCurrentThread();
        var began = Stopwatch.GetTimestamp();
        string answer;
        try
        {
            answer = "accepted " + target.Read(input);
            report.Accepted++;
        }
        catch (ImageException e)
        {
            if (e.Message.Any(char.IsControl) || e.Message.Length > ImageException.MaxMessageLength)
                throw new FuzzFindingException(target.Name, input, $"a message that is not one short line: {e.Message}", e);
            answer = $"{e.Code} {Template(e.Message)}";
        }
        catch (Exception e)
        {
            throw new FuzzFindingException(target.Name, input, $"{e.GetType().Name}: {e.Message}", e);
        }
        var took = Stopwatch.GetElapsedTime(began);
        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
        if (allocated > target.MaxAllocation + (64L * input.Length))
            throw new FuzzFindingException(target.Name, input, $"{allocated} bytes were allocated for {input.Length}", null);
        if (took > MaxTime)
            throw new FuzzFindingException(target.Name, input, $"it took {took.TotalSeconds:0} s", null);
        report.Slowest = took > report.Slowest ? took : report.Slowest;
        report.MostAllocated = Math.Max(report.MostAllocated, allocated);
        var isNew = !_answers.TryGetValue(answer, out var shortest);
        if (isNew || input.Length < shortest!.Length)
            _answers[answer] = input;
        return isNew;
    }

    /// <summary>A message without what differs from input to input.</summary>
    private static string Template(string message)
    {
        var text = new StringBuilder(message.Length);
        var name = message.AsSpan().IndexOfAny(Places);
        foreach (var c in name < 0 ? message : message[..name])
        {
            if (!char.IsAsciiDigit(c))
                text.Append(c);
        }
        return text.ToString(0, Math.Min(text.Length, 60));
    }
}

/// <summary>What one run of a fuzzer came to.</summary>
public sealed class FuzzReport(string target)
{
    public long Inputs { get; set; }

    public long Accepted { get; set; }

    public int Answers { get; set; }

    public TimeSpan Slowest { get; set; }

    public long MostAllocated { get; set; }

    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{target}: {Inputs} inputs, {Accepted} accepted, {Answers} different answers, slowest {Slowest.TotalMilliseconds:0} ms, most allocated {MostAllocated / 1024} KiB, no finding");
}

/// <summary>An input that made a reader do what it must not.</summary>
public sealed class FuzzFindingException : Exception
{
    public FuzzFindingException(string target, byte[] input, string what, Exception? inner)
        : base($"{target}: {what} (input {NameOf(input)} of {input.Length} bytes)", inner) => Input = input;

    public byte[] Input { get; }

    /// <summary>A name for the input's file.</summary>
    public string FileName => NameOf(Input);

    private static string NameOf(byte[] input) => Convert.ToHexStringLower(SHA256.HashData(input))[..16];
}
