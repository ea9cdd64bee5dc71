using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Machines;

internal static class ExecEndpoints
{
    private const int DefaultTimeoutSeconds = 60;
    private const int MaxTimeoutSeconds = 3600;

    /// <summary>Of standard output and error of one call; whoever needs more reads it as it comes, over the WebSocket.</summary>
    private const int MaxOutputBytes = 8 << 20;
    private const int StdinChunk = 64 << 10;

    public static void MapExec(this IEndpointRouteBuilder machine)
    {
        machine.MapPost("/exec", ExecAsync).WithSummary("Run a command in a machine and return its output and exit code.");
        machine.MapGet("/exec", ExecStreamAsync)
            .Produces(StatusCodes.Status101SwitchingProtocols)
            .WithSummary("Run a command over a WebSocket: standard input, output and error, signals, terminal size (docs/api.md).");
        machine.MapGet("/attach", AttachAsync)
            .Produces(StatusCodes.Status101SwitchingProtocols)
            .WithSummary("Feed a workload's standard input over a WebSocket, with signals and terminal size (docs/api.md); its output is in the log.");
    }

    /// <summary>A machine that is starting is waited for: whoever made it types already.</summary>
    private static async Task AttachAsync(string app, string id, HttpContext http, MachineWaits waits, NodeDirectory nodes, TimeProvider time)
    {
        if (!http.WebSockets.IsWebSocketRequest)
            throw ProblemException.Invalid("GET on this path opens a WebSocket; send the Upgrade headers.");
        var (row, _) = await waits.WaitUntilAcceptedAsync(MachineEndpoints.Key(http, app, id), LogEndpoints.Patience, http.RequestAborted);
        var client = nodes.Of(row.NodeId).Client;
        using var socket = await http.WebSockets.AcceptWebSocketAsync();
        await new ExecSession(socket, client, row.Id, time).AttachAsync(http.RequestAborted);
    }

    private static async Task<Ok<ExecResponse>> ExecAsync(
        string app, string id, ExecRequest request, HttpContext http, MachineStore machines, NodeDirectory nodes, TimeProvider time)
    {
        var machine = await MachineEndpoints.ReachableAsync(MachineEndpoints.Key(http, app, id), machines, http.RequestAborted);
        var start = Start(machine.Id, request);
        var limit = TimeoutOf(request);
        using var deadline = limit is null ? new CancellationTokenSource() : new CancellationTokenSource(limit.Value, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, http.RequestAborted);
        try
        {
            return TypedResults.Ok(await RunAsync(nodes.Of(machine.NodeId).Client, start, request.Stdin, either.Token));
        }
        catch (Exception e) when (e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled }
            && deadline.IsCancellationRequested && !http.RequestAborted.IsCancellationRequested)
        {
            throw new ProblemException(ProblemCodes.Timeout, $"The command did not end within {limit!.Value.TotalSeconds:0} s; raise timeout or use the WebSocket.", e);
        }
    }

    private static async Task<ExecResponse> RunAsync(
        Rpc.Node.NodeClient client, Rpc.ExecStart start, string? stdin, CancellationToken cancellationToken)
    {
        using var call = client.Exec(cancellationToken: cancellationToken);
        await call.RequestStream.WriteAsync(new Rpc.ExecInput { Start = start }, cancellationToken);
        // Fed while the output is read: a command that echoes would block on a full pipe otherwise.
        var feeding = FeedAsync(call.RequestStream, stdin, cancellationToken);
        using var output = new MemoryStream();
        using var error = new MemoryStream();
        Rpc.ExitStatus? exit = null;
        while (exit is null && await call.ResponseStream.MoveNext(cancellationToken))
        {
            var message = call.ResponseStream.Current;
            exit = message.Exit;
            output.Write(message.Stdout.Span);
            error.Write(message.Stderr.Span);
            if (output.Length + error.Length > MaxOutputBytes)
            {
                throw new ProblemException(
                    ProblemCodes.PayloadTooLarge, $"The command printed more than {MaxOutputBytes >> 20} MiB; use the WebSocket, which streams.");
            }
        }
        // A command may end without reading its input; that is its business.
        await feeding.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (exit is null)
            throw new ProblemException(ProblemCodes.GuestFailed, "The node ended the session without the command's exit status.");
        return new ExecResponse(Text(output), Text(error), exit.Code, exit.Signal == 0 ? null : exit.Signal);
    }

    private static async Task FeedAsync(IClientStreamWriter<Rpc.ExecInput> input, string? stdin, CancellationToken cancellationToken)
    {
        var bytes = Encoding.UTF8.GetBytes(stdin ?? "");
        for (var at = 0; at < bytes.Length; at += StdinChunk)
        {
            var chunk = ByteString.CopyFrom(bytes, at, Math.Min(StdinChunk, bytes.Length - at));
            await input.WriteAsync(new Rpc.ExecInput { Stdin = chunk }, cancellationToken);
        }
        await input.WriteAsync(new Rpc.ExecInput { StdinClosed = true }, cancellationToken);
        await input.CompleteAsync();
    }

    private static async Task ExecStreamAsync(string app, string id, HttpContext http, MachineStore machines, NodeDirectory nodes, TimeProvider time)
    {
        if (!http.WebSockets.IsWebSocketRequest)
            throw ProblemException.Invalid("GET on this path opens a WebSocket; send the Upgrade headers, or POST to run a command to its end.");
        // Checked before the upgrade: a machine that can't be reached is an ordinary problem.
        var machine = await MachineEndpoints.ReachableAsync(MachineEndpoints.Key(http, app, id), machines, http.RequestAborted);
        var client = nodes.Of(machine.NodeId).Client;
        using var socket = await http.WebSockets.AcceptWebSocketAsync();
        await new ExecSession(socket, client, machine.Id, time).RunAsync(http.RequestAborted);
    }

    /// <summary>Checks what a client asks to run.</summary>
    /// <exception cref="ProblemException"><c>invalid-request</c>, naming the field.</exception>
    public static Rpc.ExecStart Start(string machineId, ExecRequest request)
    {
        var command = request.Command ?? request.Cmd?.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [];
        if (command.Count == 0 || string.IsNullOrEmpty(command[0]))
            throw ProblemException.Invalid("command must begin with a program.");
        MachineConfigRules.CheckArguments("command", command);
        MachineConfigRules.CheckEnvironment("env", request.Env);
        MachineConfigRules.CheckUser("user", request.User);
        MachineConfigRules.CheckWorkingDirectory("working_dir", request.WorkingDir);
        var start = new Rpc.ExecStart
        {
            MachineId = machineId,
            User = request.User ?? "",
            WorkingDirectory = request.WorkingDir ?? "",
            Tty = request.Tty,
            Size = TerminalSize(request.Columns, request.Rows),
        };
        start.Command.AddRange(command);
        foreach (var (name, value) in request.Env ?? new Dictionary<string, string>())
            start.Environment.Add(new Rpc.EnvironmentVariable { Name = name, Value = value });
        return start;
    }

    public static Rpc.TerminalSize? TerminalSize(int? columns, int? rows)
    {
        if (columns is null || rows is null)
            return null;
        if (columns is < 1 or > ushort.MaxValue || rows is < 1 or > ushort.MaxValue)
            throw ProblemException.Invalid($"columns and rows must be 1 to {ushort.MaxValue}.");
        return new Rpc.TerminalSize { Columns = (uint)columns.Value, Rows = (uint)rows.Value };
    }

    private static TimeSpan? TimeoutOf(ExecRequest request)
    {
        var seconds = request.Timeout ?? DefaultTimeoutSeconds;
        if (seconds is < 0 or > MaxTimeoutSeconds)
            throw ProblemException.Invalid($"timeout must be 0 (none) to {MaxTimeoutSeconds} seconds.");
        return seconds == 0 ? null : TimeSpan.FromSeconds(seconds);
    }

    private static string Text(MemoryStream bytes) => Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
}
