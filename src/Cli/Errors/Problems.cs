using Ravel.Contracts.Api;

namespace Ravel.Cli.Errors;

/// <summary>What a person can do about a problem of the API, where the problem's own words leave that open.</summary>
internal static class Problems
{
    /// <param name="code">One of <see cref="ProblemCodes"/>.</param>
    /// <param name="words">The problem's own words: those with a semicolon name a remedy already, except where only the client knows it.</param>
    public static string? RemedyFor(string code, string words) => words.Contains(';') && code != ProblemCodes.Unauthorized ? null : code switch
    {
        ProblemCodes.Unauthorized => "give a valid token with --token or RAVEL_TOKEN, or run `ravel up` again",
        ProblemCodes.Forbidden => "use a token that may do this",
        ProblemCodes.MachineNotFound => "see: ravel ps -a",
        ProblemCodes.ImageNotFound => "see: ravel image ls",
        ProblemCodes.NamespaceNotFound => "see: ravel namespace ls",
        ProblemCodes.RegistryUnauthorized => "the registry asks for credentials that this server does not have",
        ProblemCodes.InsufficientCapacity => "stop a machine or ask for less with --memory and --cpus",
        ProblemCodes.DiskFull => "remove machines or images: ravel rm, ravel image prune --all",
        ProblemCodes.ImageInUse => "remove its machines first: ravel ps -a",
        ProblemCodes.ImageDamaged => "pull it again: ravel image pull",
        ProblemCodes.KernelNotFound => "see: ravel kernel ls",
        ProblemCodes.KernelInvalid => "give a bzImage or an ELF vmlinux for x86-64",
        ProblemCodes.PortTaken => "publish another port, or stop what uses it",
        ProblemCodes.NodeUnavailable => "see: ravel doctor",
        ProblemCodes.VmmFailed => "see: ravel doctor",
        ProblemCodes.Internal => "see raveld.log in the data directory",
        _ => null,
    };

    /// <summary>What an answer without a problem document means: some proxy in between, or a server that is not Ravel's.</summary>
    public static Problem FromStatus(int status, string? reason) => new()
    {
        Title = reason ?? "",
        Status = status,
        Detail = $"the server answered {status}{(string.IsNullOrEmpty(reason) ? "" : $" {reason}")}",
        Code = status switch
        {
            400 => ProblemCodes.InvalidRequest,
            401 => ProblemCodes.Unauthorized,
            403 => ProblemCodes.Forbidden,
            404 => ProblemCodes.NotFound,
            408 => ProblemCodes.Timeout,
            409 => ProblemCodes.IllegalState,
            _ => ProblemCodes.Internal,
        },
    };
}
