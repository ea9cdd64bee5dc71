using System.CommandLine;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>The options of <c>run</c>, <c>create</c> and <c>update</c> that say what a machine may take of its host.</summary>
internal sealed class LimitOptions(string cpus)
{
    public Option<double?> Cpus { get; } = CliOptions.Parsed<double?>("--cpus", "N", cpus, text => Values.Cpus(text), "-c");

    private Option<int?> CpuShares { get; } = CliOptions.Parsed<int?>(
        "--cpu-shares", "N", "CPU time against other machines when there is not enough; 1024 is usual for one CPU", text => Values.CpuShares(text));

    private Option<long?> DiskBps { get; } = CliOptions.Parsed<long?>(
        "--disk-bps", "SIZE", "Bytes a second of each disk, reads and writes together: 10m; 0 = no limit", text => Values.Rate(text));

    private Option<int?> DiskIops { get; } = CliOptions.Parsed<int?>(
        "--disk-iops", "N", "Reads and writes a second of each disk; 0 = no limit", text => Values.Operations(text));

    private Option<long?> NetBps { get; } = CliOptions.Parsed<long?>(
        "--net-bps", "SIZE", "Bytes a second of the network, in each direction: 10m; 0 = no limit", text => Values.Rate(text));

    /// <summary>All but <see cref="Cpus"/>, which stands elsewhere in a list.</summary>
    public IReadOnlyList<Option> Others => [CpuShares, DiskBps, DiskIops, NetBps];

    /// <summary>What was given, over what there is. A whole number of CPUs has no ceiling, a fraction is one; 0 lifts a limit.</summary>
    public GuestSize Apply(Session session, GuestSize size)
    {
        if (session.Get(Cpus) is { } cpus)
            size = size with { Cpus = (int)Math.Ceiling(cpus), CpuLimit = double.IsInteger(cpus) ? null : cpus };
        return size with
        {
            CpuWeight = session.Get(CpuShares) is { } shares ? Values.CpuWeightOf(shares) : size.CpuWeight,
            DiskBps = Changed(session.Get(DiskBps), size.DiskBps),
            DiskIops = (int?)Changed(session.Get(DiskIops), size.DiskIops),
            NetBps = Changed(session.Get(NetBps), size.NetBps),
        };
    }

    private static long? Changed(long? given, long? present) => given is null ? present : given == 0 ? null : given;
}
