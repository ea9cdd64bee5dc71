using System.Collections.Concurrent;
using System.Globalization;
using Ravel.Contracts.Ids;
using Ravel.Linux.Files;
using Ravel.Linux.Processes;

namespace Ravel.Agent.Disks;

/// <summary>
/// The writable disks: sparse ext4 images, one a machine, copied from a template that is formatted once per size.
/// </summary>
internal sealed class DiskStore
{
    private const string Suffix = ".ext4";
    private const string TemporarySuffix = ".new";

    private readonly string _directory;
    private readonly string _templates;
    private readonly ConcurrentDictionary<long, Lazy<Task<string>>> _made = new();

    /// <param name="directory">For the disks; a directory <c>templates</c> in it for the templates.</param>
    public DiskStore(string directory)
    {
        _directory = directory;
        _templates = Path.Combine(directory, "templates");
        Directory.CreateDirectory(_templates);
    }

    public string PathOf(MachineId machine) => Path.Combine(_directory, machine.Value + Suffix);

    /// <summary>Gives a machine an empty disk in place of the one it may have.</summary>
    /// <exception cref="IOException">No space, or another error of the file system.</exception>
    /// <exception cref="CommandException">mkfs.ext4 is missing or failed.</exception>
    public async Task MakeAsync(MachineId machine, long mib)
    {
        var template = await TemplateAsync(mib);
        var path = PathOf(machine);
        SparseFile.Copy(template, path + TemporarySuffix);
        // Atomically: a disk that is there is whole.
        File.Move(path + TemporarySuffix, path, overwrite: true);
    }

    /// <summary>Makes a disk larger and keeps what is on it; the guest grows the file system when it mounts it.</summary>
    /// <exception cref="IOException">The disk is not there, or another error of the file system.</exception>
    public void Grow(MachineId machine, long mib) => DurableFiles.SetLength(PathOf(machine), mib * 1024 * 1024);

    public bool Exists(MachineId machine) => File.Exists(PathOf(machine));

    /// <summary>What a machine's disk takes of the node's; 0 for one that is not there.</summary>
    public long UsedBytes(MachineId machine) => FileBlocks.UsageOf(PathOf(machine))?.Allocated ?? 0;

    public void Remove(MachineId machine)
    {
        File.Delete(PathOf(machine) + TemporarySuffix);
        File.Delete(PathOf(machine));
    }

    /// <summary>Removes disks of machines that are not <paramref name="known"/>, and what a crash left half made.</summary>
    public void RemoveStrays(IReadOnlySet<MachineId> known)
    {
        foreach (var path in Directory.EnumerateFiles(_directory))
        {
            if (!path.EndsWith(Suffix, StringComparison.Ordinal)
                || !MachineId.TryParse(Path.GetFileNameWithoutExtension(path), out var machine)
                || !known.Contains(machine))
            {
                File.Delete(path);
            }
        }
        foreach (var path in Directory.EnumerateFiles(_templates, "*" + TemporarySuffix))
            File.Delete(path);
    }

    private async Task<string> TemplateAsync(long mib)
    {
        var making = _made.GetOrAdd(mib, size => new Lazy<Task<string>>(() => MakeTemplateAsync(size)));
        try
        {
            return await making.Value;
        }
        catch
        {
            // The next one tries again.
            _made.TryRemove(new KeyValuePair<long, Lazy<Task<string>>>(mib, making));
            throw;
        }
    }

    private async Task<string> MakeTemplateAsync(long mib)
    {
        var path = Path.Combine(_templates, mib.ToString(CultureInfo.InvariantCulture) + Suffix);
        if (File.Exists(path))
            return path;
        var temporary = path + TemporarySuffix;
        await Ext4Image.FormatAsync(temporary, mib);
        File.Move(temporary, path, overwrite: true);
        return path;
    }
}
