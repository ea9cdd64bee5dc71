using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Ravel.Linux.Network;

public sealed partial class RouteNetlink
{
    private const ushort NewDiscipline = 36, DeleteDiscipline = 37;
    private const ushort DisciplineKind = 1, DisciplineOptions = 2;
    private const ushort BucketParameters = 1, BucketBurst = 6;
    private const uint Root = 0xffff_ffff;
    private const uint Handle = 0x0001_0000;

    /// <summary>What a queue holds at least: some of the largest segments that reach a tap in one piece.</summary>
    private const uint MinQueueBytes = 256 * 1024;

    /// <summary>What has to fit into the bucket: one such segment.</summary>
    private const uint MinBurstBytes = 128 * 1024;

    /// <summary>The head of struct rtnl_link_stats64: packets received, sent, then bytes received, sent.</summary>
    private static LinkTraffic ReadTraffic(ReadOnlySpan<byte> statistics)
    {
        if (statistics.Length < 4 * sizeof(ulong))
            return default;
        return new LinkTraffic(Counter(statistics, 2), Counter(statistics, 0), Counter(statistics, 3), Counter(statistics, 1));

        static long Counter(ReadOnlySpan<byte> counters, int index) => (long)MemoryMarshal.Read<ulong>(counters[(index * sizeof(ulong))..]);
    }

    /// <summary>
    /// Lets no more than so much leave the host through a link (tc-tbf(8)); a second's worth may go at once, and a tenth of one waits in a queue, what
    /// comes on top is dropped. Replaces what was set before.
    /// </summary>
    /// <exception cref="LinuxNetworkException">The kernel refused: it may lack sch_tbf.</exception>
    public void ShapeTraffic(int link, uint bytesPerSecond)
    {
        var parameters = new TcTbfQopt
        {
            Rate = new TcRateSpec { Rate = bytesPerSecond },
            Limit = Math.Max(MinQueueBytes, bytesPerSecond / 10),
        };
        Span<byte> bytes = stackalloc byte[Unsafe.SizeOf<TcTbfQopt>()];
        MemoryMarshal.Write(bytes, parameters);
        var value = bytes.ToArray();
        Execute(
            NetlinkMessage.Create(
                NewDiscipline,
                NetlinkSocket.Request | NetlinkSocket.Acknowledge | NetlinkSocket.Create | NetlinkSocket.Replace,
                new TcMsg { IfIndex = link, Handle = Handle, Parent = Root })
                .Add(DisciplineKind, "tbf")
                // The burst in bytes, beside which the kernel does not read the one in its own ticks.
                .Nest(DisciplineOptions, options => options
                    .Add(BucketParameters, value)
                    .Add(BucketBurst, Math.Max(MinBurstBytes, bytesPerSecond))),
            $"limiting interface {link} to {bytesPerSecond} bytes a second");
    }

    /// <summary>Undoes <see cref="ShapeTraffic"/>. A link without it is fine.</summary>
    /// <exception cref="LinuxNetworkException">The kernel refused.</exception>
    public void RemoveShaping(int link) => Execute(
        NetlinkMessage.Create(
            DeleteDiscipline, NetlinkSocket.Request | NetlinkSocket.Acknowledge, new TcMsg { IfIndex = link, Parent = Root }),
        $"lifting the limit of interface {link}",
        Errno.NoEntry);
}
