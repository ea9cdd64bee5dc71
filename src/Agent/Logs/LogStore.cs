using System.Collections.Concurrent;
using Ravel.Contracts.Ids;

namespace Ravel.Agent.Logs;

/// <summary>The logs of a node's machines: a directory each.</summary>
internal sealed class LogStore : IDisposable
{
    private readonly string _directory;
    private readonly LogOptions _options;
    private readonly ConcurrentDictionary<MachineId, Lazy<MachineLog>> _open = new();

    public LogStore(string directory, LogOptions options)
    {
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

    public void Remove(MachineId machine)
    {
        if (_open.TryRemove(machine, out var log) && log.IsValueCreated)
            log.Value.Dispose();
        if (Directory.Exists(PathOf(machine)))
            Directory.Delete(PathOf(machine), recursive: true);
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
    }

    private string PathOf(MachineId machine) => Path.Combine(_directory, machine.Value);
}
