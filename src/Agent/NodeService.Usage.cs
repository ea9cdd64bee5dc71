using Grpc.Core;
using Ravel.Agent.Limits;
using Ravel.Agent.Machines;
using Ravel.Contracts.Node;

namespace Ravel.Agent;

internal sealed partial class NodeService
{
    private const int MaxMeasured = 10_000;

    public override Task<ReadUsageResponse> ReadUsage(ReadUsageRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        if (request.MachineIds.Count > MaxMeasured)
            throw SpecRules.Invalid($"machine_ids has more than {MaxMeasured} entries");
        var machines = request.MachineIds.Select(id => _agent.Machines.Find(ParseMachine(id))).OfType<MachineActor>().ToList();
        var response = new ReadUsageResponse();
        response.Machines.AddRange(await new UsageMeter(_agent.Services).ReadAsync(machines, context.CancellationToken));
        return response;
    });
}
