using System.Globalization;
using Ravel.Bench.Results;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Bench.Start;

/// <summary>
/// How long a machine takes that need not boot: one that goes on from its saved memory, and one of an image never run before that begins as a
/// copy of a waiting guest; against one that boots.
/// </summary>
internal static class RestoreBenchmark
{
    private const string Explanation =
        "From the API's start call to the workload's next line, as a client that follows the log sees it, with the default size and the stock "
        + "kernel. *resume*: a machine that was suspended. *warm start*: of an image that was imported and never run. *cold start*: the guest "
        + "boots (`RAVEL_WARM_START=off`).";

    public static BenchCommand Command { get; } =
        new("restore", "[--rounds N] [--write]", "resume and warm start against a cold start", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var (rounds, write) = StartBenchmark.Parse(arguments);
        var work = Directory.CreateTempSubdirectory("ravel-bench-images-").FullName;
        try
        {
            await using var cold = await RavelUnderTest.UpAsync(warmStarts: false, cancellationToken);
            await using var warm = await RavelUnderTest.UpAsync(warmStarts: true, cancellationToken);
            await warm.MeasureStartAsync(cancellationToken);
            await AwaitTemplateAsync(warm, cancellationToken);
            var samples = await Comparison.RunAsync(
                [
                    new Contestant("resume", token => MeasureResumeAsync(cold, token)),
                    new Contestant("warm start", token => MeasureWarmAsync(warm, work, token)),
                    new Contestant("cold start", cold.MeasureStartAsync),
                ],
                rounds,
                Console.Out,
                cancellationToken);
            var table = ResultTable.Render("to the next line", samples);
            Console.WriteLine();
            Console.Write(table);
            if (write)
                await BenchmarksPage.WriteAsync("restore", "restore --write", Explanation, table, cancellationToken);
            return 0;
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    private static async Task<TimeSpan> MeasureResumeAsync(RavelUnderTest ravel, CancellationToken cancellationToken)
    {
        var machine = await ravel.CreateAsync(cancellationToken, workload: RavelUnderTest.TickingWorkload);
        try
        {
            await ravel.StartAsync(machine, cancellationToken);
            await ravel.SuspendAsync(machine, cancellationToken);
            return await ravel.ResumeAsync(machine, cancellationToken);
        }
        finally
        {
            await ravel.DestroyAsync(machine);
        }
    }

    private static async Task<TimeSpan> MeasureWarmAsync(RavelUnderTest ravel, string work, CancellationToken cancellationToken)
    {
        var number = Directory.EnumerateDirectories(work).Count().ToString(CultureInfo.InvariantCulture);
        var image = new OciLayout(Path.Combine(work, number));
        var name = $"bench.local/new-{number}:latest";
        var busybox = await TestImages.BusyboxAsync(cancellationToken);
        await CommandRunner.RunCheckedAsync("cp", ["-a", busybox.Directory, image.Directory], cancellationToken: cancellationToken);
        await CommandRunner.RunCheckedAsync(
            "umoci", ["config", "--image", $"{image.Directory}:{busybox.Tag}", "--config.label", $"round={number}"], cancellationToken: cancellationToken);
        await ravel.ImportAsync(image, name, cancellationToken);
        return await ravel.MeasureStartAsync(name, cancellationToken);
    }

    private static async Task AwaitTemplateAsync(RavelUnderTest ravel, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(TimeSpan.FromMinutes(3));
        var templates = Path.Combine(ravel.DataDirectory, "agent", "templates");
        while (!Directory.EnumerateDirectories(templates).Any(path => !Path.HasExtension(path)))
            await Task.Delay(100, deadline.Token);
    }
}
