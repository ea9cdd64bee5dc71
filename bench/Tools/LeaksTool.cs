using System.Text.Json;
using Ravel.Testing.Leaks;

namespace Ravel.Bench.Tools;

/// <summary>What is on the host before a run of the tests, and what is left after it.</summary>
internal static class LeaksTool
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    public static BenchCommand Command { get; } =
        new("leaks", "snapshot|compare FILE", "write down the host's resources; name those that are new", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        if (arguments is not [var verb, var file])
            throw new BenchUsageException("it takes a verb and a file");
        switch (verb)
        {
            case "snapshot":
                var now = await HostSnapshot.TakeAsync(cancellationToken);
                await File.WriteAllTextAsync(file, JsonSerializer.Serialize(now.Resources), cancellationToken);
                return 0;
            case "compare":
                var saved = JsonSerializer.Deserialize<List<HostResource>>(await File.ReadAllTextAsync(file, cancellationToken)) ?? [];
                var leftovers = await HostSnapshot.Of(saved).FindLeftoversAsync(Patience, TimeProvider.System, cancellationToken);
                foreach (var leftover in leftovers)
                    Console.Error.WriteLine($"left behind: {leftover}");
                return leftovers.Count == 0 ? 0 : 1;
            default:
                throw new BenchUsageException($"'{verb}' is neither snapshot nor compare");
        }
    }
}
