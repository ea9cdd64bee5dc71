using System.Globalization;
using Ravel.Agent.Capacity;
using Ravel.Agent.Hosting;
using Ravel.Agent.Instances;
using Ravel.Agent.Logs;
using Ravel.Agent.WarmStarts;
using Ravel.Vmm.Kernels;

namespace Ravel.Agent;

/// <summary>Configuration of the agent role.</summary>
public sealed record AgentOptions
{
    // A specification has up to 2 MiB; the machine's, the instance's, and the server's.
    private const long RowsMib = 6;

    /// <summary>Behind those of jails (<see cref="Vmm.VmmOptions.JailFirstId"/>): 64 slots of as many as a slot has addresses.</summary>
    private const int FirstOfAllUserIds = 1_900_065_536;

    private const int UserIdsOfSlot = 65_536;

    /// <summary>Keeps journal, disks and logs in <c>agent/</c> below it.</summary>
    public required string DataDirectory { get; init; }

    /// <summary>For sockets and pid files of VMMs; emptied by a reboot. Short: a Unix socket's path has at most 107 bytes.</summary>
    public required string RunDirectory { get; init; }

    /// <summary>Group of this agent's VMMs below Ravel's own control group.</summary>
    public required string Cgroup { get; init; }

    /// <summary>
    /// First of the user ids of this agent's VMMs: the machine's address index is added, so that each has its own. Null = they run as the agent does.
    /// </summary>
    public int? FirstUserId { get; init; }

    /// <summary>What guests boot.</summary>
    public required IGuestKernels Kernels { get; init; }

    /// <summary>Size of the writable disk of a machine that does not say.</summary>
    public long DefaultDiskMib { get; init; } = 1024;

    /// <summary>Machines have address indices from 1 to this.</summary>
    public int MaxAddressIndex { get; init; } = SlotAddresses.MaxAddressIndex;

    /// <summary>Time between two comparisons of the host with what should be on it.</summary>
    public TimeSpan ReconcileInterval { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Largest image archive taken by an import, in bytes.</summary>
    public long MaxImportBytes { get; init; } = 64L * 1024 * 1024 * 1024;

    /// <summary>Largest kernel taken, with its modules, in bytes.</summary>
    public long MaxKernelBytes { get; init; } = 512L * 1024 * 1024;

    /// <summary>
    /// One node of several: what may have been started elsewhere while it was away does not start by itself until a server has said that it
    /// was not. What runs, runs on.
    /// </summary>
    public bool WaitsForAdmission { get; init; }

    public InstanceOptions Instances { get; init; } = new();

    public WarmStartOptions WarmStarts { get; init; } = new();

    public LogOptions Logs { get; init; } = new();

    public CapacityOptions Capacity { get; init; } = new();

    /// <summary>Where this node is, as its operator calls it; empty when nobody said.</summary>
    public string Region { get; init; } = "";

    public string Zone { get; init; } = "";

    /// <summary>What machines may ask of a node.</summary>
    public IReadOnlyDictionary<string, string> Labels { get; init; } = new Dictionary<string, string>();

    /// <summary>Where the host's kernel tells which boot this is; another file only in tests.</summary>
    public string BootIdFile { get; init; } = "/proc/sys/kernel/random/boot_id";

    /// <summary>
    /// What a machine takes of the disk at most, in MiB, beside its disk: its log, a file of which is begun before the oldest goes, and its
    /// rows in journal and database.
    /// </summary>
    internal long BesidesDiskMib => (((Logs.SegmentBytes * Logs.MaxSegments) + (1 << 20) - 1) >> 20) + RowsMib;

    internal string AgentDirectory => Path.Combine(DataDirectory, "agent");

    /// <summary>Archives on their way into the store.</summary>
    internal string ImportsDirectory => Path.Combine(AgentDirectory, "imports");

    /// <summary>The options of an agent that runs in a slot of the host.</summary>
    public static AgentOptions For(HostSlot slot, string dataDirectory, IGuestKernels kernels) => new()
    {
        DataDirectory = dataDirectory,
        RunDirectory = slot.RunDirectory,
        Cgroup = slot.Number.ToString(CultureInfo.InvariantCulture),
        FirstUserId = FirstOfAllUserIds + (slot.Number * UserIdsOfSlot),
        Kernels = kernels,
    };
}
