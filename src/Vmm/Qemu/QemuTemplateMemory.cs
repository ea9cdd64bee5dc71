using Microsoft.Win32.SafeHandles;
using Ravel.Linux.Files;
using Ravel.Linux.Processes;

namespace Ravel.Vmm.Qemu;

/// <summary>
/// Memory of templates, each in memory once for all guests that begin as it. A QEMU before 8.2 opens the file of its memory for writing even
/// where it only maps it privately: a guest that has taken one over would write into the memory of all to come. So the file is copied, at its first use, into
/// one that nobody can write to.
/// </summary>
internal sealed class QemuTemplateMemory
{
    /// <summary>As many as the agent keeps; the one not used for longest goes.</summary>
    private const int MaxKept = 4;

    private readonly Lock _gate = new();
    private readonly List<Kept> _kept = [];

    /// <summary>An open file of a template's memory, for the caller to dispose.</summary>
    /// <exception cref="IOException">It cannot be read, or does not fit into memory.</exception>
    public SafeFileHandle Open(string directory)
    {
        var path = Path.Combine(directory, QemuTemplate.MemoryFile);
        var written = File.GetLastWriteTimeUtc(path);
        // One at a time: whoever comes meanwhile wants most likely the same.
        lock (_gate)
        {
            foreach (var stale in _kept.Where(kept => kept.Path == path ? kept.Written != written : !File.Exists(kept.Path)).ToList())
                Forget(stale);
            var found = _kept.Find(kept => kept.Path == path) ?? new Kept(path, written, SealedMemory.CopyOf(path));
            _kept.Remove(found);
            _kept.Add(found);
            if (_kept.Count > MaxKept)
                Forget(_kept[0]);
            return OpenFiles.Duplicate(found.Memory);
        }
    }

    private void Forget(Kept kept)
    {
        kept.Memory.Dispose();
        _kept.Remove(kept);
    }

    private sealed record Kept(string Path, DateTime Written, SafeFileHandle Memory);
}
