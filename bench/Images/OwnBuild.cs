using System.Diagnostics;
using System.Globalization;
using Ravel.Images;
using Ravel.Linux.Processes;

namespace Ravel.Bench.Images;

/// <summary>Builds with our library in a process of its own, which reports its processor time and peak memory.</summary>
internal sealed class OwnBuild(string reference, string output)
{
    private readonly List<double> _cpuSeconds = [];

    /// <summary>The process that builds; not for people.</summary>
    public static BenchCommand Command { get; } = new("images-build", "REFERENCE FILE", "one build, as the images benchmark runs it", BuildAsync);

    public long RootfsBytes { get; private set; }

    public long PeakBytes { get; private set; }

    public double MedianCpuSeconds => _cpuSeconds.Order().ElementAt(_cpuSeconds.Count / 2);

    public async Task<TimeSpan> MeasureAsync(CancellationToken cancellationToken)
    {
        var self = Environment.ProcessPath!;
        List<string> start = Path.GetFileNameWithoutExtension(self) == "dotnet" ? [Environment.GetCommandLineArgs()[0]] : [];
        var watch = Stopwatch.StartNew();
        var words = await CommandRunner.RunCheckedAsync(
            self, [.. start, "images-build", reference, output], timeout: TimeSpan.FromMinutes(10), cancellationToken: cancellationToken);
        watch.Stop();
        var figures = words.Split(' ', StringSplitOptions.TrimEntries);
        _cpuSeconds.Add(double.Parse(figures[0], CultureInfo.InvariantCulture));
        PeakBytes = Math.Max(PeakBytes, long.Parse(figures[1], CultureInfo.InvariantCulture));
        RootfsBytes = new FileInfo(output).Length;
        File.Delete(output);
        return watch.Elapsed;
    }

    private static async Task<int> BuildAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        if (arguments.Count != 2)
            throw new BenchUsageException("it takes a reference and a file");
        using var words = new StringWriter();
        var code = await RootfsBuildCommand.RunAsync(
            ["--quiet", "--image", arguments[0], "--output", arguments[1]], words, Console.Error, cancellationToken);
        using var self = Process.GetCurrentProcess();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{self.TotalProcessorTime.TotalSeconds:0.000} {self.PeakWorkingSet64}"));
        return code;
    }
}
