using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Ravel.Contracts.Api;
using Ravel.Contracts.Link;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Machines;

/// <summary>Files of a running machine, out and in as tar streams of any length. What is in them is between client and guest.</summary>
internal static class ArchiveEndpoints
{
    private const string ContentType = "application/x-tar";
    private const int Chunk = 64 << 10;
    private const int MaxPath = 4096;
    private const int MaxWords = 4096;

    /// <summary>Of an upload that has failed: read on, so that the client gets to the answer instead of a broken connection.</summary>
    private const long MaxDrain = 64 << 20;

    public static void MapArchive(this IEndpointRouteBuilder machine)
    {
        machine.MapGet("/archive", ReadAsync)
            .Produces(StatusCodes.Status200OK, contentType: ContentType)
            .WithSummary("A file or tree of a running machine as a tar archive.");
        machine.MapPut("/archive", WriteAsync)
            .WithMetadata(NodeUpload.AnyLength)
            .Accepts<Stream>(ContentType)
            .WithSummary("Unpack a tar archive in a running machine: into a directory, or (with ?top=) where cp would put it.");
    }

    private static async Task ReadAsync(string app, string id, string? path, HttpContext http, MachineStore machines, NodeDirectory nodes)
    {
        var machine = await MachineEndpoints.ReachableAsync(MachineEndpoints.Key(http, app, id), machines, http.RequestAborted);
        using var call = nodes.Of(machine.NodeId).Client.Exec(cancellationToken: http.RequestAborted);
        await StartAsync(call, machine, new Rpc.ArchiveStart { Path = Checked(path) }, http.RequestAborted);
        await call.RequestStream.WriteAsync(new Rpc.ExecInput { StdinClosed = true }, http.RequestAborted);
        await call.RequestStream.CompleteAsync();
        http.Features.GetRequiredFeature<IHttpMinResponseDataRateFeature>().MinDataRate = null;

        var words = new StringBuilder();
        while (await call.ResponseStream.MoveNext(http.RequestAborted))
        {
            var message = call.ResponseStream.Current;
            switch (message.KindCase)
            {
                case Rpc.ExecOutput.KindOneofCase.Stdout:
                    if (!http.Response.HasStarted)
                        http.Response.ContentType = ContentType;
                    await http.Response.Body.WriteAsync(message.Stdout.Memory, http.RequestAborted);
                    break;
                case Rpc.ExecOutput.KindOneofCase.Stderr:
                    Keep(words, message.Stderr);
                    break;
                case Rpc.ExecOutput.KindOneofCase.Exit when message.Exit.Code == 0:
                    return;
                case Rpc.ExecOutput.KindOneofCase.Exit:
                    Refuse(http, Failure(message.Exit, words));
                    return;
            }
        }
        Refuse(http, Lost());
    }

    private static async Task<Ok<Acknowledgement>> WriteAsync(
        string app, string id, string? path, string? top, HttpContext http, MachineStore machines, NodeDirectory nodes)
    {
        if (http.Request.ContentType is not ContentType)
            throw new ProblemException(ProblemCodes.UnsupportedMediaType, $"Send the archive as {ContentType}.");
        if (top is not null && (top.Length is 0 or > MaxPath || top.AsSpan().ContainsAny('/', '\0') || top == ".."))
            throw ProblemException.Invalid("top must be the name of the archive's one file or tree.");
        var machine = await MachineEndpoints.ReachableAsync(MachineEndpoints.Key(http, app, id), machines, http.RequestAborted);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted);
        using var call = nodes.Of(machine.NodeId).Client.Exec(cancellationToken: ending.Token);
        await StartAsync(call, machine, new Rpc.ArchiveStart { Into = true, Path = Checked(path), Top = top ?? "" }, http.RequestAborted);
        // An archive may come from somebody's keyboard.
        http.Features.GetRequiredFeature<IHttpMinRequestBodyDataRateFeature>().MinDataRate = null;
        var feeding = FeedAsync(http.Request.Body, call.RequestStream, ending);

        var words = new StringBuilder();
        try
        {
            while (await call.ResponseStream.MoveNext(ending.Token))
            {
                var message = call.ResponseStream.Current;
                if (message.KindCase == Rpc.ExecOutput.KindOneofCase.Stderr)
                    Keep(words, message.Stderr);
                if (message.Exit is not { } exit)
                    continue;
                await feeding;
                return exit.Code == 0 ? TypedResults.Ok(new Acknowledgement(true)) : throw Failure(exit, words);
            }
        }
        catch (Exception) when (ending.IsCancellationRequested)
        {
            // The client's side ended the call: what it has to say is the cause, the cancelled call only its effect.
            await feeding;
            throw;
        }
        catch (RpcException)
        {
            // Refused. The rest of the body is still being read, and nobody else may touch it before.
            await feeding;
            throw;
        }
        await feeding;
        throw Lost();
    }

    /// <summary>Ends the call when the body breaks off: half an archive must not be taken for a whole one.</summary>
    private static async Task FeedAsync(Stream body, IClientStreamWriter<Rpc.ExecInput> input, CancellationTokenSource ending)
    {
        var buffer = new byte[Chunk];
        long dropped = 0;
        var isTaken = true;
        try
        {
            int read;
            while ((read = await body.ReadAtLeastAsync(buffer, Chunk, throwOnEndOfStream: false, ending.Token)) > 0)
            {
                isTaken = isTaken && await TryWriteAsync(input, new Rpc.ExecInput { Stdin = ByteString.CopyFrom(buffer, 0, read) }, ending.Token);
                if (!isTaken && (dropped += read) > MaxDrain)
                    return;
            }
            if (isTaken && await TryWriteAsync(input, new Rpc.ExecInput { StdinClosed = true }, ending.Token))
                await input.CompleteAsync();
        }
        catch
        {
            await ending.CancelAsync();
            throw;
        }
    }

    /// <returns>False when the node has ended the call, and says why on its other side.</returns>
    private static async Task<bool> TryWriteAsync(IClientStreamWriter<Rpc.ExecInput> input, Rpc.ExecInput message, CancellationToken cancellationToken)
    {
        try
        {
            await input.WriteAsync(message, cancellationToken);
            return true;
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException && !cancellationToken.IsCancellationRequested)
        {
            return false;
        }
    }

    private static Task StartAsync(
        AsyncDuplexStreamingCall<Rpc.ExecInput, Rpc.ExecOutput> call, MachineRow machine, Rpc.ArchiveStart archive, CancellationToken cancellationToken) =>
        call.RequestStream.WriteAsync(
            new Rpc.ExecInput { Start = new Rpc.ExecStart { MachineId = machine.Id, Archive = archive } }, cancellationToken);

    /// <summary>As a problem; when a part of the archive is out already, as a connection that breaks off.</summary>
    private static void Refuse(HttpContext http, ProblemException problem)
    {
        if (!http.Response.HasStarted)
            throw problem;
        http.Abort();
    }

    private static ProblemException Failure(Rpc.ExitStatus exit, StringBuilder words)
    {
        var code = exit.Code switch
        {
            GuestArchives.NotFound => ProblemCodes.NotFound,
            GuestArchives.Unsuitable => ProblemCodes.InvalidRequest,
            _ => ProblemCodes.GuestFailed,
        };
        var said = words.ToString().Trim().ReplaceLineEndings(" ");
        return new ProblemException(code, said.Length > 0 ? said : $"The guest's archive program ended with {exit.Code}.");
    }

    private static ProblemException Lost() => new(ProblemCodes.GuestFailed, "The node ended the copy before the guest did.");

    private static void Keep(StringBuilder words, ByteString more)
    {
        if (words.Length < MaxWords)
            words.Append(Encoding.UTF8.GetString(more.Span[..Math.Min(more.Length, MaxWords - words.Length)]));
    }

    /// <summary>As in a container, a relative path begins at the root.</summary>
    private static string Checked(string? path)
    {
        if (string.IsNullOrEmpty(path) || path.Length > MaxPath || path.Contains('\0', StringComparison.Ordinal))
            throw ProblemException.Invalid($"path must name a file or directory of the machine, in at most {MaxPath} characters.");
        return path[0] == '/' ? path : "/" + path;
    }
}
