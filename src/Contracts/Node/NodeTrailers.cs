namespace Ravel.Contracts.Node;

/// <summary>What an agent adds to a gRPC answer that is a refusal; the status detail is the sentence for people.</summary>
public static class NodeTrailers
{
    /// <summary>The stable code, one of <see cref="Api.ProblemCodes"/>.</summary>
    public const string ProblemCode = "ravel-problem-code";
}
