using System.Collections.Concurrent;
using Ravel.Contracts.Ids;

namespace Ravel.Agent.Logs;

/// <summary>
/// The logs of a node's machines: a directory each. That of a machine that is removed can be read for a moment longer: one with
/// auto_destroy is gone before whoever follows it has heard of its end.
/// </summary>
internal sealed class LogStore : IDisposable
{
    /// <summary>How long a removed log can still be read. It takes up disk meanwhile, so there may not be many.</summary>
    internal static readonly TimeSpan Kept = TimeSpan.FromSeconds(10);
    internal const int MaxKept = 32;

    private readonly string _directory;
    private readonly LogOptions _options;
    private readonly TimeProvider _time;
    private readonly ConcurrentDictionary<MachineId, Lazy<MachineLog>> _open = new();
    private readonly Lock _lock = new();
    private readonly List<RemovedLog> _removed = [];

    public LogStore(string directory, LogOptions options, TimeProvider time)
    {
        _time = time;
        _directory = directory;
        _options = options;
        Directory.CreateDirectory(directory);
    }

    /// <summary>Opened at first use and kept open as long as the machine exists.</summary>
    public MachineLog Of(MachineId machine) =>
        _open.GetOrAdd(machine, id => new Lazy<MachineLog>(() => new MachineLog(PathOf(id), _options))).Value;

    /// <summary>
    /// Wakes those who follow a machine's log. One that is not open has none; opening it here would race with its removal.
    /// </summary>
    public void Poke(MachineId machine)
    {
        if (_open.TryGetValue(machine, out var log) && log.IsValueCreated)
            log.Value.Poke();
    }

    /// <summary>What a machine's log takes of the disk.</summary>
    public long BytesOf(MachineId machine)
    {
        try
        {
            var directory = new DirectoryInfo(PathOf(machine));
            return directory.Exists ? directory.EnumerateFiles().Sum(file => file.Length) : 0;
        }
        catch (IOException)
        {
            // Removed, or a segment was, in between.
            return 0;
        }
    }

    /// <summary>The log of a machine that was removed a moment ago.</summary>
    public MachineLog? FindRemoved(MachineId machine)
    {
        lock (_lock)
            return _removed.Find(removed => removed.Machine == machine)?.Log;
    }

    /// <summary>A machine's log to read, also that of one that was removed a moment ago; null when there is none (any more).</summary>
    public MachineLog? Find(MachineId machine)
    {
        lock (_lock)
            return FindRemoved(machine) ?? (_open.ContainsKey(machine) || Directory.Exists(PathOf(machine)) ? Of(machine) : null);
    }

    public void Remove(MachineId machine)
    {
        // Who opens it to read meanwhile gets it as it was removed, and brings nothing back.
        lock (_lock)
        {
            if (_open.TryRemove(machine, out var log))
            {
                log.Value.Remove();
                Keep(machine, log.Value);
            }
            if (Directory.Exists(PathOf(machine)))
                Directory.Delete(PathOf(machine), recursive: true);
        }
    }

    public void RemoveStrays(IReadOnlySet<MachineId> known)
    {
        foreach (var path in Directory.EnumerateDirectories(_directory))
        {
            if (!MachineId.TryParse(Path.GetFileName(path), out var machine) || !known.Contains(machine))
                Directory.Delete(path, recursive: true);
        }
    }

    public void Dispose()
    {
        foreach (var log in _open.Values)
        {
            if (log.IsValueCreated)
                log.Value.Dispose();
        }
        lock (_lock)
        {
            while (_removed.Count > 0)
                LetGo(_removed[0]);
        }
    }

    private void Keep(MachineId machine, MachineLog log)
    {
        lock (_lock)
        {
            var removed = new RemovedLog(machine, log);
            _removed.Add(removed);
            removed.Timer = _time.CreateTimer(_ => LetGo(removed), null, Kept, Timeout.InfiniteTimeSpan);
            if (_removed.Count > MaxKept)
                LetGo(_removed[0]);
        }
    }

    private void LetGo(RemovedLog removed)
    {
        lock (_lock)
        {
            if (!_removed.Remove(removed))
                return;
        }
        removed.Timer?.Dispose();
        removed.Log.Dispose();
    }

    private string PathOf(MachineId machine) => Path.Combine(_directory, machine.Value);

    private sealed class RemovedLog(MachineId machine, MachineLog log)
    {
        public MachineId Machine => machine;

        public MachineLog Log => log;

        public ITimer? Timer { get; set; }
    }
}
