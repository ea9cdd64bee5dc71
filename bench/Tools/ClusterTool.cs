using System.Globalization;
using System.Runtime.InteropServices;
using Ravel.Testing.Cluster.Bed;

namespace Ravel.Bench.Tools;

/// <summary>A cluster to play with, until it is told to end. <c>./dev cluster</c> keeps it in the background.</summary>
internal static class ClusterTool
{
    private const int MaxHosts = 16;

    public static BenchCommand Command { get; } =
        new("cluster", "DIRECTORY HOSTS", "two servers, PostgreSQL and hosts in network namespaces, until SIGTERM", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        if (arguments is not [var directory, var count])
            throw new BenchUsageException("it takes a directory and a number of hosts");
        if (!int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out var hosts) || hosts is < 1 or > MaxHosts)
            throw new BenchUsageException($"'{count}' is not a number of hosts from 1 to {MaxHosts}");

        using var told = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
        {
            context.Cancel = true;
            told.Cancel();
        });
        var bed = await TestBed.CreateAsync(new TestBedOptions { Hosts = hosts, Vmm = "qemu", IsReachable = true, Directory = directory });
        await using (bed)
        {
            Console.WriteLine("servers, each with everything (ravel --data DIRECTORY …):");
            foreach (var server in bed.Servers)
                Console.WriteLine($"  {server.Name}  {server.Api}  {server.DataDirectory}");
            Console.WriteLine("hosts (their raveld writes to raveld.log there):");
            foreach (var host in bed.Hosts)
                Console.WriteLine($"  {host.Name}    {host.Address}  node {host.NodeId}  {host.DataDirectory}");
            Console.WriteLine($"an image they can pull: {bed.Busybox}");
            Console.WriteLine();
            await Task.Delay(Timeout.Infinite, told.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        Console.WriteLine("nothing is left");
        return 0;
    }
}
