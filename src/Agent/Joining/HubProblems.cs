using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;

namespace Ravel.Agent.Joining;

/// <summary>Tells a server's refusal, which stays one, from a server that does not answer.</summary>
internal static class HubProblems
{
    public static JoinException? Of(RpcException exception) => exception.Trailers.GetValue(NodeTrailers.ProblemCode) switch
    {
        null or ProblemCodes.DatabaseUnavailable => null,
        var code => new JoinException(code, exception.Status.Detail),
    };
}
