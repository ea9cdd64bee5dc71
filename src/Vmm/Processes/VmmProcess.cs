using System.Text;
using Ravel.Linux.Cgroups;
using Ravel.Linux.Processes;

namespace Ravel.Vmm.Processes;

/// <summary>A hold on a running VMM process, launched by us or found again.</summary>
internal sealed class VmmProcess : IDisposable
{
    /// <summary>How long a killed process may take to go; only one stuck in the kernel exceeds it.</summary>
    private static readonly TimeSpan KillTimeout = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(2);

    private readonly PidFd _hold;
    private readonly OutputPipe? _output;
    private readonly TimeProvider _time;
    private readonly Task<ExitStatus?>? _status;

    /// <param name="status">Of a child of ours; null when it is somebody else's.</param>
    public VmmProcess(PidFd hold, Cgroup cgroup, OutputPipe? output, Task<ExitStatus?>? status, TimeProvider time)
    {
        _hold = hold;
        Cgroup = cgroup;
        _output = output;
        _status = status;
        _time = time;
    }

    public ProcessIdentity Identity => _hold.Identity;

    public Cgroup Cgroup { get; }

    /// <summary>Completes when the process is gone.</summary>
    public Task Exited => _hold.Exited;

    /// <summary>Set before the first signal of <see cref="KillAsync"/>.</summary>
    public bool IsKilled { get; private set; }

    /// <summary>What it printed, newest last, at most 64 KiB.</summary>
    public string ReadOutput() => ConsoleText.Decode(_output?.ReadTail() ?? []);

    /// <summary>One line on how it ended: exit status where known, and its last words.</summary>
    public async Task<string> DescribeEndAsync()
    {
        await Exited.ConfigureAwait(false);
        var status = _status is null ? null : await _status.ConfigureAwait(false);
        var words = LastLines(ReadOutput());
        var end = status?.ToString() ?? "exit status unknown";
        return words.Length == 0 ? end : $"{end}: {words}";
    }

    /// <summary>
    /// True when the process is gone, or goes within moments: one that stopped answering is usually on its way out, closing its sockets
    /// before it is a zombie.
    /// </summary>
    public async Task<bool> EndsSoonAsync()
    {
        await Task.WhenAny(Exited, Task.Delay(EndTimeout, _time)).ConfigureAwait(false);
        return Exited.IsCompleted;
    }

    public async Task KillAsync(CancellationToken cancellationToken)
    {
        IsKilled = true;
        // By its own descriptor first: that works even where the group was removed under it.
        _hold.Signal(9);
        await Cgroup.KillAllAsync(_time, KillTimeout, cancellationToken).ConfigureAwait(false);
        await Exited.WaitAsync(KillTimeout, _time, cancellationToken).ConfigureAwait(false);
    }

    /// <exception cref="VmmException">It has ended.</exception>
    public VmmMetrics Measure()
    {
        var stat = ProcessStat.Read(Identity.Pid);
        return stat is { IsRunning: true } && stat.StartTime == Identity.StartTime
            ? new VmmMetrics(Cgroup.ReadUsage().CpuTime ?? stat.CpuTime, stat.ResidentBytes)
            : throw new VmmException($"VMM process {Identity.Pid} has ended");
    }

    public void Dispose()
    {
        _hold.Dispose();
        _output?.Dispose();
    }

    private static string LastLines(string text)
    {
        const int MaxCharacters = 1000;
        var line = string.Join("; ", text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).TakeLast(8));
        return line.Length <= MaxCharacters ? line : "…" + line[^MaxCharacters..];
    }
}

/// <summary>Bytes of a console or log, written by a guest or about one, as text that is no longer in UTF-8 than they were.</summary>
internal static class ConsoleText
{
    // One ASCII character for each byte that is no UTF-8: the usual replacement character takes three.
    private static readonly Encoding Lenient =
        Encoding.GetEncoding("utf-8", EncoderFallback.ReplacementFallback, new DecoderReplacementFallback("?"));

    public static string Decode(ReadOnlySpan<byte> bytes) => Lenient.GetString(bytes);
}
