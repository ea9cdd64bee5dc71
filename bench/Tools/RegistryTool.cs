using Ravel.Testing.Images;

namespace Ravel.Bench.Tools;

/// <summary>
/// A registry that holds the named test images until standard input ends; one reference a line on standard output, then an
/// empty line. For the demo and for trying things by hand.
/// </summary>
internal static class RegistryTool
{
    private static readonly Dictionary<string, Func<CancellationToken, Task<OciLayout>>> Images = new(StringComparer.Ordinal)
    {
        ["busybox"] = TestImages.BusyboxAsync,
        ["nginx"] = TestImages.NginxAsync,
    };

    public static BenchCommand Command { get; } =
        new("registry", "IMAGE...", $"serve test images ({string.Join(", ", Images.Keys)}) until standard input ends", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        if (arguments.Count == 0)
            throw new BenchUsageException("it takes the names of images");
        if (arguments.FirstOrDefault(name => !Images.ContainsKey(name)) is { } unknown)
            throw new BenchUsageException($"there is no image '{unknown}'");

        await using var registry = await RegistryFixture.StartAsync(cancellationToken: cancellationToken);
        foreach (var name in arguments)
        {
            var image = await Images[name](cancellationToken);
            Console.WriteLine(await registry.PushAsync(image, $"{name}:latest", cancellationToken));
        }
        Console.WriteLine();
        await Console.In.ReadToEndAsync(cancellationToken);
        return 0;
    }
}
