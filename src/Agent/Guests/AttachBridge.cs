using Grpc.Core;
using Ravel.Agent.Machines;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Link;
using Ravel.Contracts.Node;
using Ravel.Link;

namespace Ravel.Agent.Guests;

/// <summary>
/// Carries one caller's input to the workload of one instance. What the workload prints goes into its log and is read there, so
/// that a caller who comes late, or again, misses nothing.
/// </summary>
internal sealed class AttachBridge
{
    private readonly MachineActor _machine;
    private readonly TimeProvider _time;
    private InstanceId _instance;

    public AttachBridge(MachineActor machine, TimeProvider time)
    {
        _machine = machine;
        _time = time;
    }

    /// <summary>Returns when the input has ended; throws when it cannot be carried any further.</summary>
    public async Task RunAsync(IAsyncStreamReader<ExecInput> input, CancellationToken cancellationToken)
    {
        if (_machine.Record?.Instance is not { } instance)
            throw new InstanceException(ProblemCodes.IllegalState, $"Machine {_machine.Id} is not running; start it first.");
        if (!instance.Spec.Stdin && !instance.Spec.Tty)
            throw new InstanceException(ProblemCodes.IllegalState, $"Machine {_machine.Id} was made without standard input.");
        _instance = instance.Id;
        try
        {
            while (await input.MoveNext(cancellationToken))
                await CarryAsync(input.Current, instance.Spec.Stdin, cancellationToken);
        }
        finally
        {
            // As docker: a pipe ends with its caller. A terminal stays for the next.
            if (instance.Spec is { Stdin: true, Tty: false })
                await EndInputAsync();
        }
    }

    private async Task CarryAsync(ExecInput input, bool hasStdin, CancellationToken cancellationToken)
    {
        var use = await UseAsync(cancellationToken);
        switch (input.KindCase)
        {
            case ExecInput.KindOneofCase.Stdin when hasStdin:
                await WriteAsync(use, stdin => stdin.WriteAsync(input.Stdin.Memory, cancellationToken), cancellationToken);
                break;
            case ExecInput.KindOneofCase.StdinClosed when hasStdin:
                await WriteAsync(use, stdin => stdin.CompleteAsync(cancellationToken), cancellationToken);
                break;
            case ExecInput.KindOneofCase.Signal when input.Signal is > 0 and <= SignalNames.Highest:
                await use.Link.SendAsync(new SignalWorkload(input.Signal), cancellationToken);
                break;
            case ExecInput.KindOneofCase.Resize:
                await use.Link.SendAsync(
                    new ResizeTerminal(0, ExecBridge.Size(input.Resize.Columns, 80), ExecBridge.Size(input.Resize.Rows, 24)), cancellationToken);
                break;
        }
    }

    private async Task<LinkUse> UseAsync(CancellationToken cancellationToken)
    {
        var use = await GuestCalls.LinkOfAsync(_machine, _time, cancellationToken, awaitStart: true);
        return _machine.Record?.Instance?.Id == _instance
            ? use
            : throw new InstanceException(ProblemCodes.IllegalState, $"Machine {_machine.Id} was restarted; attach again.");
    }

    private static async Task WriteAsync(LinkUse use, Func<ILinkWriter, ValueTask> write, CancellationToken cancellationToken)
    {
        await use.StdinTurn.WaitAsync(cancellationToken);
        try
        {
            await write(use.Link.OpenWrite(LinkStreams.Stdin));
        }
        catch (InvalidOperationException)
        {
            throw new InstanceException(ProblemCodes.IllegalState, "The workload's standard input has ended.");
        }
        finally
        {
            use.StdinTurn.Release();
        }
    }

    private async Task EndInputAsync()
    {
        try
        {
            // A machine that is still starting is waited for here too: its workload must not wait for input that never comes.
            var use = await UseAsync(CancellationToken.None);
            await WriteAsync(use, stdin => stdin.CompleteAsync(CancellationToken.None), CancellationToken.None);
        }
        catch (Exception e) when (e is InstanceException or LinkException)
        {
            // It is over, and so is its input.
        }
    }
}
