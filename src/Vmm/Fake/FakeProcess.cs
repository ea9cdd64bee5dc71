using System.Globalization;
using System.Text;
using Ravel.Contracts.Link;
using Ravel.Link;

namespace Ravel.Vmm.Fake;

/// <summary>How a fake process ended.</summary>
internal readonly record struct FakeEnd(int Code, int Signal, bool OomKilled);

/// <summary>
/// A process of a fake guest. Its arguments are verbs, one after the other, separated by <c>;</c>; <c>sh -c TEXT</c> takes them
/// from the text:
/// <list type="table">
/// <item><term>print TEXT…, print-err TEXT…</term><description>a line on stdout, on stderr</description></item>
/// <item><term>print-env NAME, print-hostname</term><description>a line with what the configuration says</description></item>
/// <item><term>print-drive N</term><description>the first line of a drive</description></item>
/// <item><term>flood N</term><description>N bytes on stdout</description></item>
/// <item><term>console N</term><description>N bytes on the serial console</description></item>
/// <item><term>cat</term><description>stdin to stdout until it ends</description></item>
/// <item><term>sleep [SECONDS|infinity]</term><description>without a number for ever</description></item>
/// <item><term>echo-forever TEXT…</term><description>the line every 100 ms</description></item>
/// <item><term>ignore-stop</term><description>from here on only SIGKILL ends it</description></item>
/// <item><term>exit N, oom</term><description>ends, the latter as the kernel's OOM killer would</description></item>
/// <item><term>crash, panic, power-off</term><description>the VMM is lost, the guest's kernel panics, the guest shuts down by itself</description></item>
/// <item><term>fail N</term><description>is refused with that code; so is any other word, with 127</description></item>
/// </list>
/// </summary>
internal sealed class FakeProcess
{
    public const int Sigkill = 9;

    private static readonly TimeSpan EchoInterval = TimeSpan.FromMilliseconds(100);

    private static readonly HashSet<string> Verbs =
    [
        "print", "print-err", "print-env", "print-hostname", "print-drive", "flood", "console", "cat", "sleep", "echo-forever",
        "ignore-stop", "exit", "oom", "crash", "panic", "power-off", "true",
    ];

    private readonly FakeGuest _guest;
    private readonly IFakeMachine _machine;
    private readonly GuestConfig _config;
    private readonly ProcessConfig _process;
    private readonly GuestOutput _stdout;
    private readonly GuestOutput _stderr;
    private readonly Func<GuestInput?> _stdin;
    private readonly TaskCompletionSource<int> _signal = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _ignoresStop;

    public FakeProcess(
        FakeGuest guest,
        IFakeMachine machine,
        GuestConfig config,
        ProcessConfig process,
        GuestOutput stdout,
        GuestOutput stderr,
        Func<GuestInput?> stdin)
    {
        _guest = guest;
        _machine = machine;
        _config = config;
        _process = process;
        _stdout = stdout;
        _stderr = stderr;
        _stdin = stdin;
    }

    /// <summary>Why the process could not be started, or null.</summary>
    public static WorkloadFailed? Refusal(ProcessConfig process)
    {
        foreach (var command in Commands(process))
        {
            if (command is ["fail", ..])
                return new WorkloadFailed(command.Length > 1 ? Number(command[1]) : 125, "told to fail");
            if (!Verbs.Contains(command[0]))
                return new WorkloadFailed(127, $"{command[0]}: not found");
        }
        return null;
    }

    public void Start(Action<FakeEnd> ended) => _ = Task.Run(async () => ended(await RunAsync().ConfigureAwait(false)));

    public void Signal(int signal)
    {
        if (signal == Sigkill || !_ignoresStop)
            _signal.TrySetResult(signal);
    }

    public void KillAfter(TimeSpan timeout) => _ = KillAfterAsync(timeout);

    private async Task KillAfterAsync(TimeSpan timeout)
    {
        await Task.Delay(timeout, _machine.Time).ConfigureAwait(false);
        _signal.TrySetResult(Sigkill);
    }

    private async Task<FakeEnd> RunAsync()
    {
        using var killed = new CancellationTokenSource();
        var running = RunCommandsAsync(killed.Token);
        if (await Task.WhenAny(running, _signal.Task).ConfigureAwait(false) == running)
            return await running.ConfigureAwait(false);
        await killed.CancelAsync().ConfigureAwait(false);
        try
        {
            await running.ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // That was the aim.
        }
        var signal = await _signal.Task.ConfigureAwait(false);
        return new FakeEnd(128 + signal, signal, false);
    }

    private async Task<FakeEnd> RunCommandsAsync(CancellationToken cancellationToken)
    {
        foreach (var command in Commands(_process))
        {
            if (await RunCommandAsync(command[0], command[1..], cancellationToken).ConfigureAwait(false) is { } end)
                return end;
        }
        return new FakeEnd(0, 0, false);
    }

    private async Task<FakeEnd?> RunCommandAsync(string verb, string[] words, CancellationToken cancellationToken)
    {
        switch (verb)
        {
            case "print":
                await PrintAsync(_stdout, string.Join(' ', words), cancellationToken).ConfigureAwait(false);
                break;
            case "print-err":
                await PrintAsync(_stderr, string.Join(' ', words), cancellationToken).ConfigureAwait(false);
                break;
            case "print-env":
                var prefix = words[0] + "=";
                var entry = _process.Environment.LastOrDefault(e => e.StartsWith(prefix, StringComparison.Ordinal));
                await PrintAsync(_stdout, entry?[prefix.Length..] ?? "", cancellationToken).ConfigureAwait(false);
                break;
            case "print-hostname":
                await PrintAsync(_stdout, _config.Hostname, cancellationToken).ConfigureAwait(false);
                break;
            case "print-drive":
                await PrintAsync(_stdout, _machine.ReadDrive(Number(words[0])), cancellationToken).ConfigureAwait(false);
                break;
            case "flood":
                await FloodAsync(Number(words[0]), cancellationToken).ConfigureAwait(false);
                break;
            case "console":
                _machine.WriteConsole(new string('x', Number(words[0])));
                break;
            case "cat":
                byte[] data;
                while ((data = await _guest.ReadAsync(_stdin, cancellationToken).ConfigureAwait(false)).Length > 0)
                    await _guest.WriteAsync(_stdout, data, cancellationToken).ConfigureAwait(false);
                break;
            case "sleep":
                var time = words is [var seconds] && seconds != "infinity"
                    ? TimeSpan.FromSeconds(double.Parse(seconds, CultureInfo.InvariantCulture))
                    : Timeout.InfiniteTimeSpan;
                await Task.Delay(time, _machine.Time, cancellationToken).ConfigureAwait(false);
                break;
            case "echo-forever":
                while (true)
                {
                    await PrintAsync(_stdout, string.Join(' ', words), cancellationToken).ConfigureAwait(false);
                    await Task.Delay(EchoInterval, _machine.Time, cancellationToken).ConfigureAwait(false);
                }
            case "ignore-stop":
                _ignoresStop = true;
                break;
            case "exit":
                return new FakeEnd(words.Length > 0 ? Number(words[0]) : 0, 0, false);
            case "oom":
                return new FakeEnd(128 + Sigkill, Sigkill, true);
            case "crash":
                _machine.End(new VmmExit(VmmExitKind.Lost, "told to crash"));
                break;
            case "panic":
                _machine.WriteConsole("Kernel panic - not syncing: told to panic\n");
                _machine.End(new VmmExit(VmmExitKind.GuestPanic, "told to panic"));
                break;
            case "power-off":
                _machine.End(new VmmExit(VmmExitKind.GuestShutdown, "the guest powered off"));
                break;
        }
        return null;
    }

    private Task PrintAsync(GuestOutput output, string line, CancellationToken cancellationToken) =>
        _guest.WriteAsync(output, Encoding.UTF8.GetBytes(line + "\n"), cancellationToken);

    private async Task FloodAsync(int bytes, CancellationToken cancellationToken)
    {
        var block = new byte[4096];
        block.AsSpan().Fill((byte)'x');
        for (var left = bytes; left > 0; left -= block.Length)
            await _guest.WriteAsync(_stdout, block.AsMemory(0, Math.Min(left, block.Length)), cancellationToken).ConfigureAwait(false);
    }

    private static IEnumerable<string[]> Commands(ProcessConfig process)
    {
        IEnumerable<string> words = process.Arguments;
        if (process.Arguments is [var shell, "-c", var text, ..] && (shell == "sh" || shell.EndsWith("/sh", StringComparison.Ordinal)))
            words = text.Replace(";", " ; ", StringComparison.Ordinal).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var command = new List<string>();
        foreach (var word in words.Append(";"))
        {
            if (word != ";")
            {
                command.Add(word);
            }
            else if (command.Count > 0)
            {
                yield return [.. command];
                command.Clear();
            }
        }
    }

    private static int Number(string word) => int.Parse(word, CultureInfo.InvariantCulture);
}
