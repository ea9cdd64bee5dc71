using Ravel.Agent.Guests;
using Ravel.Agent.Networking;
using Ravel.Contracts.Api;
using Ravel.Images;
using Ravel.Linux.Processes;
using Ravel.Vmm;
using Ravel.Vmm.Kernels;

namespace Ravel.Agent.Instances;

/// <summary>Turns what a step of a start threw into a problem with a stable code.</summary>
internal static class ProblemOf
{
    // ENOSPC and EDQUOT (errno(3)); .NET keeps errno in the HResult of an IOException on Unix.
    private const int NoSpace = 28;
    private const int QuotaExceeded = 122;

    public static InstanceProblem Exception(Exception exception) => exception switch
    {
        InstanceException e => new InstanceProblem(e.Code, e.Message),
        ImageException e => new InstanceProblem(e.Code, e.Message),
        NetworkException e => new InstanceProblem(e.Code, e.Message),
        KernelException e => new InstanceProblem(e.Code, e.Message),
        VmmException { InnerException: IOException inner } e when IsFull(inner) => Full(e),
        VmmException e => new InstanceProblem(ProblemCodes.VmmFailed, e.Message),
        IOException e when IsFull(e) => Full(e),
        CommandException e when e.Message.Contains("No space left", StringComparison.Ordinal) =>
            Full(e),
        _ => new InstanceProblem(ProblemCodes.Internal, exception.Message),
    };

    private static bool IsFull(IOException e) => (e.HResult & 0xffff) is NoSpace or QuotaExceeded;

    private static InstanceProblem Full(Exception e) => new(ProblemCodes.DiskFull, $"The node's disk is full: {e.Message}");
}
