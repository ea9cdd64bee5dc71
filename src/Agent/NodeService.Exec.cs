using Grpc.Core;
using Ravel.Agent.Guests;
using Ravel.Agent.Machines;
using Ravel.Contracts.Node;

namespace Ravel.Agent;

internal sealed partial class NodeService
{
    public override Task Exec(
        IAsyncStreamReader<ExecInput> requestStream, IServerStreamWriter<ExecOutput> responseStream, ServerCallContext context) =>
        NodeProblems.MapAsync(async () =>
        {
            if (!await requestStream.MoveNext(context.CancellationToken) || requestStream.Current.Start is not { } start)
                throw SpecRules.Invalid("the first input of an exec must be its start");
            SpecRules.Check(start);
            var machine = FindMachine(start.MachineId);
            var use = await GuestCalls.LinkOfAsync(machine, _agent.Time, context.CancellationToken);
            await new ExecBridge(machine, use, _agent.Images, _agent.Time).RunAsync(start, requestStream, responseStream, context.CancellationToken);
        });

    public override Task Attach(
        IAsyncStreamReader<ExecInput> requestStream, IServerStreamWriter<ExecOutput> responseStream, ServerCallContext context) =>
        NodeProblems.MapAsync(async () =>
        {
            if (!await requestStream.MoveNext(context.CancellationToken) || requestStream.Current.Start is not { } start)
                throw SpecRules.Invalid("the first input of an attach must be its start");
            await new AttachBridge(FindMachine(start.MachineId), _agent.Time).RunAsync(requestStream, context.CancellationToken);
        });
}
