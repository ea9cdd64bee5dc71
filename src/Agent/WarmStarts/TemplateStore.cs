using Ravel.Vmm;

namespace Ravel.Agent.WarmStarts;

/// <summary>
/// Templates on disk, one directory each under its key. A directory with another name is one that is being made, or being removed, and
/// goes when the store is opened: whatever instruction a crash hits, a key names a whole template or nothing.
/// </summary>
internal sealed class TemplateStore
{
    private const string Unfinished = ".partial";
    private const string Doomed = ".removed";

    private readonly string _directory;
    private readonly int _limit;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();

    /// <param name="directory">Where they are; made when opened.</param>
    /// <param name="limit">How many are kept, at least 1.</param>
    /// <param name="time">Tells which was used last.</param>
    public TemplateStore(string directory, int limit, TimeProvider time)
    {
        _directory = directory;
        _limit = limit;
        _time = time;
    }

    /// <summary>A new one would drive out another.</summary>
    public bool IsFull => Keys().Count() >= _limit;

    /// <summary>Removes what a crash left half made or half removed, and what is above the limit.</summary>
    public void Open()
    {
        Directory.CreateDirectory(_directory);
        foreach (var path in Directory.EnumerateDirectories(_directory).Where(path => !IsWhole(path)).ToList())
            Directory.Delete(path, recursive: true);
        Evict();
    }

    /// <summary>Removes all, also what is half made.</summary>
    public void Clear()
    {
        if (Directory.Exists(_directory))
            Directory.Delete(_directory, recursive: true);
    }

    /// <summary>Null when there is none. One that is found counts as used.</summary>
    public VmTemplate? Find(string key)
    {
        var path = PathOf(key);
        lock (_gate)
        {
            if (!Directory.Exists(path))
                return null;
            Directory.SetLastWriteTimeUtc(path, _time.GetUtcNow().UtcDateTime);
            return new VmTemplate(path);
        }
    }

    public bool Has(string key) => Directory.Exists(PathOf(key));

    /// <summary>An empty directory to make a template in.</summary>
    public string Begin(string key)
    {
        var path = PathOf(key) + Unfinished;
        if (Directory.Exists(path))
            Directory.Delete(path, recursive: true);
        return Directory.CreateDirectory(path).FullName;
    }

    public void Abandon(string key)
    {
        var path = PathOf(key) + Unfinished;
        if (Directory.Exists(path))
            Directory.Delete(path, recursive: true);
    }

    /// <summary>What was begun is a template from here on.</summary>
    public void Publish(string key)
    {
        lock (_gate)
        {
            Remove(key);
            Directory.SetLastWriteTimeUtc(PathOf(key) + Unfinished, _time.GetUtcNow().UtcDateTime);
            Directory.Move(PathOf(key) + Unfinished, PathOf(key));
            Evict();
        }
    }

    /// <summary>Guests that began as it go on: they have its files open.</summary>
    public void Remove(string key)
    {
        lock (_gate)
        {
            var path = PathOf(key);
            if (!Directory.Exists(path))
                return;
            if (Directory.Exists(path + Doomed))
                Directory.Delete(path + Doomed, recursive: true);
            Directory.Move(path, path + Doomed);
            Directory.Delete(path + Doomed, recursive: true);
        }
    }

    private static bool IsWhole(string path) => !Path.GetFileName(path).Contains('.', StringComparison.Ordinal);

    private IEnumerable<string> Keys() => Directory.EnumerateDirectories(_directory).Where(IsWhole).Select(path => Path.GetFileName(path));

    private void Evict()
    {
        foreach (var key in Keys().OrderByDescending(key => Directory.GetLastWriteTimeUtc(PathOf(key))).Skip(_limit).ToList())
            Remove(key);
    }

    private string PathOf(string key) => Path.Combine(_directory, key);
}
