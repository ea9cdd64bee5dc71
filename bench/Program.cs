using Ravel.Bench;
using Ravel.Bench.Agent;
using Ravel.Bench.Daemon;
using Ravel.Bench.Images;
using Ravel.Bench.Kernels;
using Ravel.Bench.Network;
using Ravel.Bench.Placement;
using Ravel.Bench.Start;
using Ravel.Bench.Tools;

// Benchmarks and the developer's tools, by name. Without one, the list of them.
BenchCommand[] benchmarks =
[
    StartBenchmark.Command,
    RestoreBenchmark.Command,
    DaemonBenchmark.Command,
    AgentBenchmark.Command,
    NetworkBenchmark.Command,
    ImagesBench.Command,
    KernelBenchmark.Command,
    PlannerBenchmark.Command,
    PlacementBenchmark.Command,
    AllBenchmarks.Command,
];
BenchCommand[] tools =
[
    LeaksTool.Command,
    RegistryTool.Command,
    ClusterTool.Command,
    OwnBuild.Command,
    ServerUnderTest.Tool,
];

var name = args.FirstOrDefault();
var command = benchmarks.Concat(tools).FirstOrDefault(command => command.Name == name);
if (command is null)
{
    var writer = name is null ? Console.Out : Console.Error;
    if (name is not null)
        writer.WriteLine($"bench: there is no benchmark or tool '{name}'");
    List("benchmarks (./dev bench NAME [ARGUMENTS]):", benchmarks, writer);
    List("tools of ./dev:", tools, writer);
    return name is null ? 0 : 64;
}

using var interrupted = new CancellationTokenSource();
Console.CancelKeyPress += (_, signal) =>
{
    // The first Ctrl-C lets the command clean up; a second one ends it.
    signal.Cancel = !interrupted.IsCancellationRequested;
    interrupted.Cancel();
};
try
{
    return await command.RunAsync(args[1..], interrupted.Token);
}
catch (OperationCanceledException) when (interrupted.IsCancellationRequested)
{
    return 130;
}
catch (BenchUsageException e)
{
    Console.Error.WriteLine($"bench {command.Name}: {e.Message}; usage: bench {command.Name} {command.Arguments}");
    return 64;
}

static void List(string title, IReadOnlyList<BenchCommand> commands, TextWriter writer)
{
    if (commands.Count == 0)
        return;
    writer.WriteLine(title);
    foreach (var command in commands)
        writer.WriteLine($"  {command.Name + ' ' + command.Arguments,-36} {command.Summary}");
}
