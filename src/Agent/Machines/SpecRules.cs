using System.Net;
using System.Net.Sockets;
using Ravel.Agent.Guests;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.Vmm.Kernels;

namespace Ravel.Agent.Machines;

/// <summary>What a specification may say; the agent believes nobody that it was checked before.</summary>
internal static class SpecRules
{
    private const int MaxName = 253;
    private const int MaxText = 4096;
    private const int MaxItems = 1024;
    private const int MaxVariable = 128 * 1024;
    private const int MaxPorts = 256;
    private const int MaxTotal = 2 * 1024 * 1024;
    private const int MaxHostname = 63;
    private const int MaxMounts = 8;

    /// <exception cref="InstanceException"><c>invalid-request</c>, naming the member.</exception>
    public static void Check(MachineSpec? spec)
    {
        if (spec is null)
            throw Invalid("spec is missing");
        // A configuration has to fit into one message to the guest.
        if (spec.CalculateSize() > MaxTotal)
            throw Invalid($"spec is larger than {MaxTotal} bytes");
        Text("namespace", spec.Namespace, MaxName, mayBeEmpty: false);
        Text("app", spec.App, MaxName, mayBeEmpty: true);
        Text("name", spec.Name, MaxName, mayBeEmpty: true);
        Text("image", spec.Image, MaxText, mayBeEmpty: false);
        if (spec.Kernel.Length > 0 && !KernelReference.IsDigest(spec.Kernel))
            throw Invalid("kernel must be a digest, sha256: and 64 hexadecimal digits, or empty");
        Text("user", spec.User, MaxName, mayBeEmpty: true);
        Text("working_directory", spec.WorkingDirectory, MaxText, mayBeEmpty: true);
        if (spec.Hostname.Length > MaxHostname || spec.Hostname.Any(c => !char.IsAsciiLetterOrDigit(c) && c is not '-' and not '.'))
            throw Invalid($"hostname must be letters, digits, '-' and '.', at most {MaxHostname}");
        if (!Enum.IsDefined(spec.PullPolicy))
            throw Invalid("pull_policy is unknown");
        Range("cpus", spec.Cpus, 1, 32);
        Range("memory_mib", spec.MemoryMib, 64, 1024 * 1024);
        if (spec.DiskMib != 0)
            Range("disk_mib", spec.DiskMib, 16, 16 * 1024 * 1024);
        Limits.MachineLimits.Check(spec);
        Words("entrypoint", spec.Entrypoint?.Values);
        Words("command", spec.Command?.Values);
        Environment(spec.Environment);
        Ports(spec.Ports);
        Mounts(spec.Mounts);
        if (spec.Restart is { } restart && !Enum.IsDefined(restart.Kind))
            throw Invalid("restart.kind is unknown");
        if (spec.Stop is { } stop)
        {
            Range("stop.signal", stop.Signal < 0 ? ulong.MaxValue : (ulong)stop.Signal, 0, SignalNames.Highest);
            if (stop.Timeout is { } timeout && (timeout.Seconds is < 0 or > 3600 || timeout.Nanos is < 0 or > 999_999_999))
                throw Invalid("stop.timeout must be 0 to 3600 s");
        }
    }

    /// <exception cref="InstanceException"><c>invalid-request</c>.</exception>
    public static void Check(ExecStart start)
    {
        if (start.Archive is { } archive)
        {
            Path("archive.path", archive.Path);
            if (archive.Top.Contains('/') || archive.Top.Contains('\0') || archive.Top == ".." || archive.Top.Length > MaxText)
                throw Invalid("archive.top must be one name");
            return;
        }
        Words("command", start.Command);
        if (start.Command.Count == 0 || start.Command[0].Length == 0)
            throw Invalid("command is missing");
        Environment(start.Environment);
        Text("user", start.User, MaxName, mayBeEmpty: true);
        Text("working_directory", start.WorkingDirectory, MaxText, mayBeEmpty: true);
    }

    public static InstanceException Invalid(string message) => new(ProblemCodes.InvalidRequest, message);

    public static void Range(string name, ulong value, ulong min, ulong max)
    {
        if (value < min || value > max)
            throw Invalid($"{name} must be {min} to {max}");
    }

    private static void Text(string name, string value, int max, bool mayBeEmpty)
    {
        if (value.Length > max || (value.Length == 0 && !mayBeEmpty) || value.Any(char.IsControl))
            throw Invalid($"{name} must be {(mayBeEmpty ? 0 : 1)} to {max} characters without control characters");
    }

    private static void Path(string name, string path)
    {
        if (path.Length is 0 or > MaxText || path[0] != '/' || path.Contains('\0'))
            throw Invalid($"{name} must be an absolute path of at most {MaxText} characters");
    }

    private static void Words(string name, IReadOnlyCollection<string>? words)
    {
        if (words is null)
            return;
        if (words.Count > MaxItems)
            throw Invalid($"{name} has more than {MaxItems} words");
        if (words.Any(word => word.Length > MaxVariable || word.Contains('\0')))
            throw Invalid($"{name} has a word that is over-long or has a NUL in it");
    }

    private static void Environment(IReadOnlyCollection<EnvironmentVariable> variables)
    {
        if (variables.Count > MaxItems)
            throw Invalid($"environment has more than {MaxItems} variables");
        foreach (var variable in variables)
        {
            if (variable.Name.Length is 0 or > MaxName || variable.Name.Any(c => c is '=' or '\0' || char.IsControl(c)))
                throw Invalid("environment has a name that is empty, over-long, or has '=' or a control character in it");
            if (variable.Value.Length > MaxVariable || variable.Value.Contains('\0'))
                throw Invalid($"environment variable {variable.Name} is over-long or has a NUL in it");
        }
    }

    private static void Mounts(IReadOnlyCollection<VolumeMount> mounts)
    {
        if (mounts.Count > MaxMounts)
            throw Invalid($"mounts has more than {MaxMounts} entries");
        foreach (var mount in mounts)
        {
            if (!Contracts.Ids.VolumeId.TryParse(mount.VolumeId, out _))
                throw Invalid("mounts.volume_id is not a volume id");
            if (mount.Path.Length is < 2 or > MaxText || mount.Path[0] != '/' || mount.Path.Any(char.IsControl))
                throw Invalid("mounts.path must be an absolute path other than /");
        }
        if (mounts.DistinctBy(mount => mount.VolumeId).Count() != mounts.Count || mounts.DistinctBy(mount => mount.Path).Count() != mounts.Count)
            throw Invalid("mounts names a volume or a path twice");
    }

    private static void Ports(IReadOnlyCollection<PublishedPort> ports)
    {
        if (ports.Count > MaxPorts)
            throw Invalid($"ports has more than {MaxPorts} entries");
        foreach (var port in ports)
        {
            if (port.Protocol is not ("tcp" or "udp"))
                throw Invalid("ports.protocol must be tcp or udp");
            Range("ports.host_port", port.HostPort, 1, 65535);
            Range("ports.guest_port", port.GuestPort, 1, 65535);
            if (port.HostAddress.Length > 0
                && (!IPAddress.TryParse(port.HostAddress, out var address) || address.AddressFamily != AddressFamily.InterNetwork))
            {
                throw Invalid("ports.host_address must be an IPv4 address or empty");
            }
        }
        if (ports.DistinctBy(port => (port.Protocol, port.HostAddress, port.HostPort)).Count() != ports.Count)
            throw Invalid("ports names a host port twice");
    }
}
