using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Ravel.Agent.Instances;
using Ravel.Agent.Logs;
using Ravel.Agent.Machines;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;

namespace Ravel.Agent;

internal sealed partial class NodeService
{
    public override Task ReadLogs(ReadLogsRequest request, IServerStreamWriter<LogEntry> responseStream, ServerCallContext context) =>
        NodeProblems.MapAsync(async () =>
        {
            InstanceId? instance = null;
            if (request.InstanceId.Length > 0)
                instance = InstanceId.TryParse(request.InstanceId, out var asked) ? asked : throw SpecRules.Invalid("instance_id is not an instance id");
            var query = new LogQuery(
                request.Follow,
                request.HasTail ? request.Tail : null,
                request.Since is { } since ? (since.Seconds * 1_000_000_000) + since.Nanos : 0,
                instance);
            var id = ParseMachine(request.MachineId);
            var machine = _agent.Logs.FindRemoved(id) is null ? FindMachine(request.MachineId) : null;
            // A machine that never ran has no log to open.
            if (machine is { Record.Instance: null } or { Record: null } || _agent.Logs.Find(id) is not { } log)
                return;
            await foreach (var record in log.ReadAsync(query, () => machine is null || IsOver(machine), context.CancellationToken))
            {
                var entry = new LogEntry
                {
                    At = new Timestamp { Seconds = record.Nanoseconds / 1_000_000_000, Nanos = (int)(record.Nanoseconds % 1_000_000_000) },
                    Stream = record.Stream switch
                    {
                        LogStream.Stdout => "stdout",
                        LogStream.Stderr => "stderr",
                        _ => "system",
                    },
                    Data = ByteString.CopyFrom(record.Data.Span),
                    InstanceId = record.Instance.ToString(),
                };
                await responseStream.WriteAsync(entry, context.CancellationToken);
            }
        });

    /// <summary>Nothing more will be printed: the instance is gone, and none follows by itself.</summary>
    private static bool IsOver(MachineActor machine) => machine.Record?.State is null or InstanceState.Ended or InstanceState.Destroying;
}
