namespace Ravel.Linux.Cgroups;

/// <summary>
/// Ravel's part of the host's control groups: a directory of one name in every hierarchy it uses. A group has the same
/// relative name in each of them.
/// </summary>
public sealed class CgroupTree
{
    private const int MaxAttempts = 10;

    private readonly string _root;
    private readonly CgroupHierarchy[] _hierarchies;

    /// <param name="mounts">What the host has.</param>
    /// <param name="root">Name of Ravel's directory, e.g. <c>ravel</c>; may have several parts.</param>
    public CgroupTree(CgroupMounts mounts, string root)
    {
        CheckName(root);
        _root = root;
        var hierarchies = new List<CgroupHierarchy>();
        string[] v2 = [];
        if (mounts.Unified is not null)
        {
            var available = CgroupHierarchy.ReadWords(Path.Combine(mounts.Unified, "cgroup.controllers"));
            v2 = [.. available.Where(name => name is "cpu" or "memory" or "io")];
            hierarchies.Add(new CgroupHierarchy(mounts.Unified, IsUnified: true, v2));
        }
        var legacy = mounts.Legacy.Where(entry =>
            entry.Key is "cpu" or "memory" or "cpuacct" or "blkio" && !v2.Contains(entry.Key == "blkio" ? "io" : entry.Key));
        foreach (var group in legacy.GroupBy(entry => entry.Value).OrderBy(group => group.Key, StringComparer.Ordinal))
            hierarchies.Add(new CgroupHierarchy(group.Key, IsUnified: false, [.. group.Select(entry => entry.Key)]));
        _hierarchies = [.. hierarchies];
    }

    /// <summary>The tree of this host under <paramref name="root"/>.</summary>
    public static CgroupTree Detect(string root) => new(CgroupMounts.Detect(), root);

    /// <summary>True when groups are made in the v2 tree, with or without controllers.</summary>
    public bool HasUnified => _hierarchies.Any(hierarchy => hierarchy.IsUnified);

    /// <summary>Relative path of a group, the same in every hierarchy; what a jailer calls the parent group.</summary>
    public string PathOf(string name)
    {
        CheckName(name);
        return $"{_root}/{name}";
    }

    /// <summary>What keeps groups from being made here, one line each; empty when all is well. Makes and removes a group to know.</summary>
    public IReadOnlyList<string> Probe()
    {
        if (_hierarchies.Length == 0)
            return ["no cgroup hierarchy is mounted"];
        try
        {
            var probe = Create($"probe-{Environment.ProcessId}", new CgroupLimits());
            foreach (var directory in probe.Directories)
                Directory.Delete(directory);
            RemoveEmptyParents(probe.Name);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [e.Message];
        }
        var controllers = _hierarchies.SelectMany(hierarchy => hierarchy.Controllers).ToHashSet();
        return [.. new[] { "cpu", "memory" }.Where(name => !controllers.Contains(name)).Select(name => $"no cgroup controller limits {name}")];
    }

    /// <summary>Makes a group, or takes the one there is, and sets its limits.</summary>
    /// <param name="name">Parts of letters, digits, '-', '_', '.' separated by '/'.</param>
    /// <exception cref="IOException">The host refuses; the message names the file.</exception>
    /// <exception cref="UnauthorizedAccessException">Not permitted.</exception>
    public Cgroup Create(string name, CgroupLimits limits)
    {
        var group = Open(name);
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                foreach (var hierarchy in _hierarchies)
                    hierarchy.Create(PathOf(name), limits);
                return group;
            }
            catch (DirectoryNotFoundException) when (attempt < MaxAttempts)
            {
                // Another group's removal took an empty parent away in between; it is made again.
            }
        }
    }

    /// <summary>The group of that name, whether it is there or not.</summary>
    public Cgroup Open(string name)
    {
        var path = PathOf(name);
        return new Cgroup(name, [.. _hierarchies.Select(hierarchy => (hierarchy, Path.Combine(hierarchy.MountPoint, path)))], this);
    }

    /// <summary>Removes the directories above a removed group, Ravel's own included, as far as they are empty.</summary>
    internal void RemoveEmptyParents(string name)
    {
        for (var parent = Path.GetDirectoryName(PathOf(name)); !string.IsNullOrEmpty(parent); parent = Path.GetDirectoryName(parent))
        {
            foreach (var hierarchy in _hierarchies)
            {
                try
                {
                    Directory.Delete(Path.Combine(hierarchy.MountPoint, parent));
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // In use by other groups, or gone already.
                }
            }
        }
    }

    private static void CheckName(string name)
    {
        var parts = name.Split('/');
        foreach (var part in parts)
        {
            if (part.Length is 0 or > 128 || part is "." or ".." || !part.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
                throw new ArgumentException($"'{name}' is not a control group's name: parts of letters, digits, '-', '_', '.' separated by '/'.");
        }
    }
}
