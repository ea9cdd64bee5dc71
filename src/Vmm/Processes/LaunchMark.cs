using System.Text.Json;
using System.Text.Json.Serialization;

namespace Ravel.Vmm.Processes;

/// <summary>
/// Written into a VM's run directory before anything else is made, so that a purge knows what a launch that was cut short at
/// any instruction may have made.
/// </summary>
/// <param name="Driver">Who launched.</param>
/// <param name="Id">The VM.</param>
/// <param name="Cgroup">Its control group below Ravel's own.</param>
internal sealed record LaunchMark(string Driver, string Id, string Cgroup)
{
    /// <summary>CPU time per wall time of a VM that has no ceiling of its own; null in the mark of an earlier Ravel.</summary>
    public double? CpuCeiling { get; init; }

    /// <summary>The host's disk (MAJOR:MINOR) below each drive that is on one.</summary>
    public IReadOnlyList<string>? Disks { get; init; }

    public const string FileName = "launch.json";

    /// <summary>No flush: the directory, the processes and the groups all end with the host's uptime.</summary>
    public void Write(string runDirectory)
    {
        var path = Path.Combine(runDirectory, FileName);
        File.WriteAllBytes(path + ".tmp", JsonSerializer.SerializeToUtf8Bytes(this, LaunchJson.Default.LaunchMark));
        File.Move(path + ".tmp", path, overwrite: true);
    }

    /// <summary>Null when no launch got as far as making something.</summary>
    public static LaunchMark? Read(string runDirectory)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(Path.Combine(runDirectory, FileName)), LaunchJson.Default.LaunchMark);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }
}

[JsonSerializable(typeof(LaunchMark))]
internal sealed partial class LaunchJson : JsonSerializerContext;
