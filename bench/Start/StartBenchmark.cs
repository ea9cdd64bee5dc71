using Ravel.Bench.Results;

namespace Ravel.Bench.Start;

/// <summary>
/// How long a machine takes from the API's start call to the first line of its workload, against a bare QEMU with the same
/// kernel, initramfs, disks and command line that is told the same configuration over the link.
/// </summary>
internal static class StartBenchmark
{
    private const int DefaultRounds = 5;

    private const string Explanation =
        "From the API's start call to the workload's first line, as a client that follows the log sees it; against the same kernel, "
        + "initramfs, disks and command line in a QEMU started by hand, from its exec to the first byte of the workload on the link. "
        + "The bare one has its disk, tap and sockets beforehand.";

    public static BenchCommand Command { get; } =
        new("start", "[--rounds N] [--write]", "from the start call to the workload's first line, against a bare QEMU", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var (rounds, write) = Parse(arguments);
        await using var ravel = await RavelUnderTest.UpAsync(warmStarts: false, cancellationToken);
        await using var bare = await BareQemu.LikeAMachineOfAsync(ravel, cancellationToken);

        var samples = await Comparison.RunAsync(
            [new Contestant("ravel", ravel.MeasureStartAsync), new Contestant("bare QEMU", bare.MeasureStartAsync)],
            rounds,
            Console.Out,
            cancellationToken);

        var table = ResultTable.Render("start to first line", samples);
        Console.WriteLine();
        Console.Write(table);
        if (write)
            await BenchmarksPage.WriteAsync("start", "start --write", Explanation, table, cancellationToken);
        return 0;
    }

    internal static (int Rounds, bool Write) Parse(IReadOnlyList<string> arguments, int rounds = DefaultRounds)
    {
        var write = false;
        for (var i = 0; i < arguments.Count; i++)
        {
            switch (arguments[i])
            {
                case "--write":
                    write = true;
                    break;
                case "--rounds" when i + 1 < arguments.Count && int.TryParse(arguments[i + 1], out rounds) && rounds is > 0 and <= 1000:
                    i++;
                    break;
                default:
                    throw new BenchUsageException($"'{arguments[i]}' is not an option, or has no number from 1 to 1000 after it");
            }
        }
        return (rounds, write);
    }
}
