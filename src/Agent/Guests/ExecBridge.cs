using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Ravel.Agent.Machines;
using Ravel.Contracts.Api;
using Ravel.Contracts.Link;
using Ravel.Contracts.Node;
using Ravel.Images;
using Ravel.Link;

namespace Ravel.Agent.Guests;

/// <summary>
/// Carries one exec session between a caller and a guest. Each direction has its own back-pressure, so a slow caller holds up
/// its own command and nobody else's.
/// </summary>
internal sealed class ExecBridge
{
    private const int ChunkBytes = 32 * 1024;
    private const int MaxTerminal = 4096;

    private readonly MachineActor _machine;
    private readonly LinkUse _use;
    private readonly IImageStore _images;
    private readonly TimeProvider _time;

    public ExecBridge(MachineActor machine, LinkUse use, IImageStore images, TimeProvider time)
    {
        _machine = machine;
        _use = use;
        _images = images;
        _time = time;
    }

    /// <summary>Returns when the command has ended and all it printed was sent, or when the caller is gone.</summary>
    public async Task RunAsync(
        ExecStart start, IAsyncStreamReader<ExecInput> input, IServerStreamWriter<ExecOutput> output, CancellationToken cancellationToken)
    {
        if (start.Archive is not null && _use.Link.GuestHello.Version < GuestArchives.SinceVersion)
        {
            throw new InstanceException(
                ProblemCodes.IllegalState, $"Machine {_machine.Id} was started by an older Ravel, which cannot copy; restart it.");
        }
        var (session, end) = _use.OpenExec();
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var turn = new SemaphoreSlim(1);
        var hasEnded = false;
        try
        {
            await _use.Link.SendAsync(new StartExec(session, ProcessOf(start), HasStdin: true), cancellationToken);
            var writing = SendInputAsync(session, input, over.Token);
            try
            {
                await Task.WhenAll(
                    CarryAsync(LinkStreams.ExecStdout(session), data => new ExecOutput { Stdout = data }, output, turn, cancellationToken),
                    CarryAsync(LinkStreams.ExecStderr(session), data => new ExecOutput { Stderr = data }, output, turn, cancellationToken));
                var ended = await end.WaitAsync(cancellationToken);
                hasEnded = true;
                if (ended.Problem is { } problem)
                    await output.WriteAsync(new ExecOutput { Stderr = ByteString.CopyFromUtf8(problem + "\n") }, cancellationToken);
                await output.WriteAsync(
                    new ExecOutput
                    {
                        Exit = new ExitStatus
                        {
                            Code = ended.ExitCode,
                            Signal = ended.Signal,
                            At = Timestamp.FromDateTimeOffset(_time.GetUtcNow()),
                        },
                    },
                    cancellationToken);
            }
            finally
            {
                await over.CancelAsync();
                await writing;
            }
        }
        finally
        {
            _use.ForgetExec(session);
            if (!hasEnded)
                await KillAsync(session);
        }
    }

    /// <summary>A command whose caller is gone has nobody to print for.</summary>
    private async Task KillAsync(uint session)
    {
        try
        {
            await _use.Link.SendAsync(new SignalExec(session, SignalNames.Kill), CancellationToken.None);
        }
        catch (LinkException)
        {
            // It ended with the link.
        }
    }

    private ProcessConfig ProcessOf(ExecStart start)
    {
        var instance = _machine.Record?.Instance
            ?? throw new InstanceException(ProblemCodes.IllegalState, $"Machine {_machine.Id} is not running; start it first.");
        if (start.Archive is { } archive)
            return new ProcessConfig { Arguments = Arguments(archive) };
        var image = instance.Facts.ImageDigest is { } digest ? _images.Find(digest)?.Config : null;
        var environment = WorkloadPlan.Environment(image?.Env ?? [], instance.Spec.Environment);
        return new ProcessConfig
        {
            Arguments = [.. start.Command],
            Environment = WorkloadPlan.Environment(environment, start.Environment),
            User = First(start.User, instance.Spec.User, image?.User),
            WorkingDirectory = First(start.WorkingDirectory, instance.Spec.WorkingDirectory, image?.WorkingDir),
            Tty = start.Tty,
            Columns = Size(start.Size?.Columns, 80),
            Rows = Size(start.Size?.Rows, 24),
        };
    }

    private static string[] Arguments(ArchiveStart archive) => archive switch
    {
        { Into: false } => [GuestArchives.Program, GuestArchives.Pack, archive.Path],
        { Top.Length: 0 } => [GuestArchives.Program, GuestArchives.Unpack, archive.Path],
        _ => [GuestArchives.Program, GuestArchives.Unpack, archive.Path, archive.Top],
    };

    private async Task CarryAsync(
        uint stream, Func<ByteString, ExecOutput> wrap, IServerStreamWriter<ExecOutput> output, SemaphoreSlim turn, CancellationToken cancellationToken)
    {
        await using var reader = _use.Link.OpenRead(stream);
        var buffer = new byte[ChunkBytes];
        int read;
        while ((read = await reader.ReadAsync(buffer, cancellationToken)) > 0)
        {
            await turn.WaitAsync(cancellationToken);
            try
            {
                await output.WriteAsync(wrap(ByteString.CopyFrom(buffer, 0, read)), cancellationToken);
            }
            finally
            {
                turn.Release();
            }
            reader.Consume(reader.Offset);
        }
    }

    private async Task SendInputAsync(uint session, IAsyncStreamReader<ExecInput> input, CancellationToken cancellationToken)
    {
        try
        {
            var stdin = _use.Link.OpenWrite(LinkStreams.ExecStdin(session));
            while (await input.MoveNext(cancellationToken))
            {
                switch (input.Current.KindCase)
                {
                    case ExecInput.KindOneofCase.Stdin:
                        await stdin.WriteAsync(input.Current.Stdin.Memory, cancellationToken);
                        break;
                    case ExecInput.KindOneofCase.StdinClosed:
                        await stdin.CompleteAsync(cancellationToken);
                        break;
                    case ExecInput.KindOneofCase.Signal when input.Current.Signal is > 0 and <= SignalNames.Highest:
                        await _use.Link.SendAsync(new SignalExec(session, input.Current.Signal), cancellationToken);
                        break;
                    case ExecInput.KindOneofCase.Resize:
                        await _use.Link.SendAsync(
                            new ResizeTerminal(session, Size(input.Current.Resize.Columns, 80), Size(input.Current.Resize.Rows, 24)), cancellationToken);
                        break;
                }
            }
            // A caller that half-closes has no more input.
            await stdin.CompleteAsync(cancellationToken);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or LinkException or InvalidOperationException or RpcException)
        {
            // The command ended, or the caller went: the output's side sees either.
        }
    }

    private static string First(params ReadOnlySpan<string?> values)
    {
        foreach (var value in values)
        {
            if (!string.IsNullOrEmpty(value))
                return value;
        }
        return "";
    }

    public static ushort Size(uint? value, ushort otherwise) => value is > 0 and <= MaxTerminal ? (ushort)value.Value : otherwise;
}
