namespace Ravel.Agent.Joining;

/// <summary>This host cannot join, or does not belong to its cluster any more; trying again does not help.</summary>
/// <param name="code">One of <see cref="Contracts.Api.ProblemCodes"/>.</param>
/// <param name="message">The subject and the remedy.</param>
public sealed class JoinException(string code, string message) : Exception(message)
{
    public string Code { get; } = code;
}
