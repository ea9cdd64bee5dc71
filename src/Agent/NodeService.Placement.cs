using System.Globalization;
using Grpc.Core;
using Ravel.Contracts.Node;

namespace Ravel.Agent;

internal sealed partial class NodeService
{
    /// <summary>Most names of images a server is told: it keeps those of every node.</summary>
    private const int MaxTold = 1024;

    public override Task<ReleaseResponse> Release(ReleaseRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        await _agent.Machines.ReleaseAsync(ParseMachine(request.MachineId));
        return new ReleaseResponse();
    });

    /// <summary>Adds what is different each time: how busy the host is, and its images, unless the caller knows them.</summary>
    private NodeInfo WithMoment(GetNodeRequest request, NodeInfo info)
    {
        info.Load = Load();
        var names = _agent.Images.List()
            .Where(image => !image.IsDamaged)
            .OrderByDescending(image => image.LastUsedAt)
            .SelectMany(image => image.References.Append(image.ManifestDigest))
            .Take(MaxTold)
            .Order(StringComparer.Ordinal)
            .ToList();
        info.ImagesRevision = Revision(names);
        if (info.ImagesRevision != request.ImagesRevision)
            info.Images.AddRange(names);
        return info;
    }

    private static string Revision(List<string> names)
    {
        ulong hash = 0xCBF29CE484222325;
        foreach (var c in names.SelectMany(name => name.Append('\n')))
            hash = (hash ^ c) * 0x100000001B3;
        return hash.ToString("x16", CultureInfo.InvariantCulture);
    }

    /// <summary>Processes that ran or wanted to in the last minute, for each CPU; 1 at most (proc_loadavg(5)). 0 where there is no telling.</summary>
    private static double Load()
    {
        try
        {
            var text = File.ReadAllText("/proc/loadavg");
            return double.TryParse(text.AsSpan(0, text.IndexOf(' ', StringComparison.Ordinal)), CultureInfo.InvariantCulture, out var load)
                ? Math.Min(1, load / Environment.ProcessorCount)
                : 0;
        }
        catch (IOException)
        {
            return 0;
        }
    }
}
