using Ravel.Contracts.Api;

namespace Ravel.ControlPlane.Problems;

/// <summary>An expected refusal on its way to the caller; becomes an RFC 9457 problem. <paramref name="code"/>: <see cref="ProblemCodes"/>.</summary>
internal sealed class ProblemException(string code, string message, Exception? inner = null) : Exception(message, inner)
{
    public string Code { get; } = code;

    public static ProblemException Invalid(string message) => new(ProblemCodes.InvalidRequest, message);

    public static ProblemException AppNotFound(string app) =>
        new(ProblemCodes.AppNotFound, $"There is no app '{app}' in this namespace; create it with POST /v1/apps.");

    public static ProblemException MachineNotFound(string machine) =>
        new(ProblemCodes.MachineNotFound, $"There is no machine '{machine}' in this app; list them with GET /v1/machines.");

    public static ProblemException NamespaceNotFound(string name) =>
        new(ProblemCodes.NamespaceNotFound, $"There is no namespace '{name}' that this token can see.");
}
