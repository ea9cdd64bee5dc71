using Grpc.Core;
using Ravel.Agent.Guests;
using Ravel.Agent.Instances;
using Ravel.Agent.Journal;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.Durable.Mailboxes;
using Ravel.Images;
using Ravel.Link;
using Ravel.Linux.Processes;
using Ravel.Vmm.Kernels;

namespace Ravel.Agent;

/// <summary>Turns expected refusals into gRPC errors that keep their code.</summary>
internal static class NodeProblems
{
    public static async Task<T> MapAsync<T>(Func<Task<T>> call)
    {
        try
        {
            return await call();
        }
        catch (Exception e) when (ToRpc(e) is { } rpc)
        {
            throw rpc;
        }
    }

    public static Task MapAsync(Func<Task> call) => MapAsync(async () =>
    {
        await call();
        return true;
    });

    private static RpcException? ToRpc(Exception exception) => exception switch
    {
        InstanceException e => Problem(e.Code, e.Message),
        ImageException e => Problem(e.Code, e.Message),
        KernelException e => Problem(e.Code, e.Message),
        JournalFullException e => Problem(ProblemCodes.DiskFull, e.Message),
        JournalException e => Problem(ProblemCodes.Internal, e.Message),
        MailboxFullException e => Problem(ProblemCodes.NodeUnavailable, e.Message),
        IOException or CommandException when ProblemOf.Exception(exception) is { Code: ProblemCodes.DiskFull } full => Problem(full.Code, full.Message),
        LinkException e => Problem(ProblemCodes.GuestFailed, $"The link to the guest broke: {e.Message}"),
        ObjectDisposedException => Problem(ProblemCodes.NodeUnavailable, "The node is going down; try again when it is up."),
        OperationCanceledException => new RpcException(new Status(StatusCode.Cancelled, "The call was cancelled.")),
        _ => null,
    };

    private static RpcException Problem(string code, string message) =>
        new(new Status(StatusOf(code), message), new Metadata { { NodeTrailers.ProblemCode, code } });

    private static StatusCode StatusOf(string code) => code switch
    {
        ProblemCodes.InvalidRequest or ProblemCodes.ImageInvalid or ProblemCodes.KernelInvalid => StatusCode.InvalidArgument,
        ProblemCodes.MachineNotFound or ProblemCodes.ImageNotFound or ProblemCodes.KernelNotFound or ProblemCodes.VolumeNotFound
            or ProblemCodes.NotFound => StatusCode.NotFound,
        ProblemCodes.InsufficientCapacity or ProblemCodes.IllegalState or ProblemCodes.ImageInUse or ProblemCodes.ImageDamaged or ProblemCodes.PortTaken
            or ProblemCodes.KernelInUse or ProblemCodes.VolumeInUse or ProblemCodes.NameTaken or ProblemCodes.KernelBuildFailed =>
            StatusCode.FailedPrecondition,
        ProblemCodes.RegistryUnauthorized => StatusCode.PermissionDenied,
        ProblemCodes.DiskFull or ProblemCodes.PayloadTooLarge => StatusCode.ResourceExhausted,
        ProblemCodes.NodeUnavailable or ProblemCodes.ImagePullFailed => StatusCode.Unavailable,
        ProblemCodes.Timeout => StatusCode.DeadlineExceeded,
        _ => StatusCode.Internal,
    };
}
