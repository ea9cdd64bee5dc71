using System.Net;
using System.Text;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Images;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Recovery;

namespace Ravel.ControlPlane.Machines;

/// <summary>
/// What a tenant may ask of a machine. Each refusal names the field as the caller wrote it. Limits keep one machine's
/// configuration far below a megabyte: it is stored, sent to a node and handed to a guest.
/// </summary>
internal static class MachineConfigRules
{
    private const int MaxArguments = 1024;
    private const int MaxArgumentBytes = 128 << 10;
    private const int MaxVariables = 1024;
    private const int MaxVariableBytes = 256 << 10;
    private const int MaxMetadata = 64;
    public const int MaxMetadataKey = 128;
    public const int MaxMetadataValue = 4096;
    private const int MaxPorts = 64;
    private const int MaxMounts = 8;
    private const int MaxStopSeconds = 3600;
    private const int MaxKernelReference = 256;

    /// <summary>Members of the Fly API that change what runs. Dropping one silently would run something else than asked for.</summary>
    private static readonly string[] NotYet =
        ["services", "checks", "files", "processes", "containers", "schedule", "statics", "volumes"];

    /// <exception cref="ProblemException">The first rule that is broken.</exception>
    public static void Check(MachineConfig config)
    {
        foreach (var name in NotYet)
        {
            if (config.Unsupported is { } other && other.TryGetValue(name, out var value) && !IsEmpty(value))
                throw Broken(name, "is not supported; leave it out");
        }

        if (!ImageReference.TryParse(config.Image, out _))
            throw Broken("image", "must be an image reference such as nginx, registry.example:5000/team/app:1.2 or NAME@sha256:…");
        CheckGuest(config.Guest);
        CheckEnvironment("env", config.Env);
        CheckInit(config.Init);
        CheckOneOf("restart.policy", config.Restart?.Policy, "no", "on-failure", "always");
        CheckRange("restart.max_retries", config.Restart?.MaxRetries, 0, 1_000_000);
        if (config.StopConfig?.Signal is { } signal && !Signals.TryParse(signal, out _))
            throw Broken("stop_config.signal", "must be a signal such as SIGTERM or 15");
        CheckRange("stop_config.timeout", config.StopConfig?.Timeout, 0, MaxStopSeconds);
        CheckMetadata(config.Metadata);
        CheckMounts(config.Mounts);
        CheckPorts(config.PublishedPorts);
        PlacementRules.Check(config.Placement);
        CheckOneOf("pull_policy", config.PullPolicy, "missing", "always", "never");
        CheckOneOf("on_node_loss", config.OnNodeLoss, MoveRules.Reschedule, MoveRules.StayThere);
        if (config.OnNodeLoss == MoveRules.Reschedule && config.Mounts is { Count: > 0 })
            throw Broken("on_node_loss", "can't be reschedule with mounts: volumes stay on their node");
    }

    /// <summary>Seconds until SIGKILL of one stop, in the same range as the configured ones.</summary>
    public static int? CheckStopTimeout(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return null;
        if (!GoDuration.TryParse(text, out var timeout) || timeout.TotalSeconds > MaxStopSeconds)
            throw ProblemException.Invalid($"timeout must be 0 to {MaxStopSeconds} seconds, as a number or like '10s'.");
        return (int)Math.Ceiling(timeout.TotalSeconds);
    }

    public static int? CheckSignal(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return null;
        return Signals.TryParse(text, out var signal) ? signal : throw ProblemException.Invalid("signal must be a signal such as SIGTERM or 15.");
    }

    /// <param name="field">As the caller wrote it.</param>
    /// <param name="environment">What to look at; null is fine.</param>
    public static void CheckEnvironment(string field, IReadOnlyDictionary<string, string>? environment)
    {
        if (environment is null)
            return;
        if (environment.Count > MaxVariables)
            throw Broken(field, $"has more than {MaxVariables} variables");
        var bytes = 0;
        foreach (var (name, value) in environment)
        {
            if (name.Length is 0 or > 256 || name.Contains('=', StringComparison.Ordinal) || HasNul(name))
                throw Broken(field, "has a variable whose name is empty, longer than 256 characters, or contains '='");
            if (value is null || HasNul(value))
                throw Broken($"{field}.{name}", "must be text without NUL");
            bytes += Encoding.UTF8.GetByteCount(name) + Encoding.UTF8.GetByteCount(value);
        }
        if (bytes > MaxVariableBytes)
            throw Broken(field, $"is larger than {MaxVariableBytes >> 10} KiB");
    }

    public static void CheckArguments(string field, IReadOnlyList<string>? arguments)
    {
        if (arguments is null)
            return;
        if (arguments.Count > MaxArguments)
            throw Broken(field, $"has more than {MaxArguments} elements");
        var bytes = 0;
        for (var i = 0; i < arguments.Count; i++)
        {
            if (arguments[i] is null || HasNul(arguments[i]))
                throw Broken($"{field}[{i}]", "must be text without NUL");
            bytes += Encoding.UTF8.GetByteCount(arguments[i]) + 1;
        }
        if (bytes > MaxArgumentBytes)
            throw Broken(field, $"is larger than {MaxArgumentBytes >> 10} KiB");
    }

    public static void CheckUser(string field, string? user)
    {
        if (user is not null && (user.Length > 256 || user.AsSpan().ContainsAny('\0', '\n', ' ')))
            throw Broken(field, "must be a user, uid, user:group or uid:gid");
    }

    public static void CheckWorkingDirectory(string field, string? path)
    {
        if (!string.IsNullOrEmpty(path) && (path[0] != '/' || path.Length > 4096 || HasNul(path)))
            throw Broken(field, "must be an absolute path");
    }

    private static void CheckGuest(GuestSize? guest)
    {
        CheckRange("guest.cpus", guest?.Cpus, 1, 32);
        CheckRange("guest.memory_mb", guest?.MemoryMb, 64, 1 << 20);
        CheckRange("guest.disk_mb", guest?.DiskMb, 16, 64 << 20);
        if (guest?.Kernel is { } kernel && (kernel.Length is 0 or > MaxKernelReference || kernel.Any(c => c is <= ' ' or >= '\x7f')))
            throw Broken("guest.kernel", "must be the name or digest of a kernel, see GET /v1/kernels");
        CheckOneOf("guest.cpu_kind", guest?.CpuKind, "shared", "performance");
        CheckLimits(guest);
    }

    private static void CheckLimits(GuestSize? guest)
    {
        const long MinBytes = 16 * 1024;
        const long MaxBytes = 4_000_000_000;
        CheckRange("guest.cpu_weight", guest?.CpuWeight, 1, 10_000);
        var cpus = guest?.Cpus ?? 1;
        if (guest?.CpuLimit is { } ceiling && !(ceiling >= 0.01 && ceiling <= cpus))
            throw Broken("guest.cpu_limit", $"must be 0.01 to {cpus}, the machine's CPUs");
        CheckRange("guest.disk_bps", guest?.DiskBps, MinBytes, MaxBytes);
        CheckRange("guest.disk_iops", guest?.DiskIops, 10, 10_000_000);
        CheckRange("guest.net_bps", guest?.NetBps, MinBytes, MaxBytes);
    }

    private static void CheckInit(InitConfig? init)
    {
        if (init is null)
            return;
        CheckArguments("init.exec", init.Exec);
        CheckArguments("init.entrypoint", init.Entrypoint);
        CheckArguments("init.cmd", init.Cmd);
        if (init.Exec is [""] or [] or ["", ..])
            throw Broken("init.exec", "must begin with a program");
        CheckUser("init.user", init.User);
        CheckWorkingDirectory("init.working_dir", init.WorkingDir);
    }

    private static void CheckMetadata(IReadOnlyDictionary<string, string>? metadata)
    {
        if (metadata is null)
            return;
        if (metadata.Count > MaxMetadata)
            throw Broken("metadata", $"has more than {MaxMetadata} keys");
        foreach (var (key, value) in metadata)
            CheckMetadata(key, value);
    }

    public static void CheckMetadata(string key, string? value)
    {
        if (key.Length is 0 or > MaxMetadataKey)
            throw Broken("metadata", $"has a key that is empty or longer than {MaxMetadataKey} characters");
        if (value is null || value.Length > MaxMetadataValue)
            throw Broken($"metadata.{key}", $"must be text of at most {MaxMetadataValue} characters");
    }

    private static void CheckPorts(IReadOnlyList<PortConfig>? ports)
    {
        if (ports is null)
            return;
        if (ports.Count > MaxPorts)
            throw Broken("published_ports", $"has more than {MaxPorts} ports");
        var taken = new HashSet<(string, string, int)>();
        for (var i = 0; i < ports.Count; i++)
        {
            var at = $"published_ports[{i}]";
            if (ports[i] is not { } port)
                throw Broken(at, "must be an object");
            CheckOneOf($"{at}.protocol", port.Protocol, "tcp", "udp");
            CheckRange($"{at}.host_port", port.HostPort, 1, 65535);
            CheckRange($"{at}.guest_port", port.GuestPort, 1, 65535);
            if (!string.IsNullOrEmpty(port.HostAddress) && !IPAddress.TryParse(port.HostAddress, out _))
                throw Broken($"{at}.host_address", "must be an IP address");
            if (!taken.Add((port.Protocol ?? "tcp", port.HostAddress ?? "", port.HostPort)))
                throw Broken($"{at}.host_port", "is published twice");
        }
    }

    private static void CheckMounts(IReadOnlyList<MountConfig>? mounts)
    {
        if (mounts is null)
            return;
        if (mounts.Count > MaxMounts)
            throw Broken("mounts", $"has more than {MaxMounts} volumes");
        for (var i = 0; i < mounts.Count; i++)
        {
            var at = $"mounts[{i}]";
            if (mounts[i] is not { } mount)
                throw Broken(at, "must be an object");
            if (string.IsNullOrEmpty(mount.Volume ?? mount.Name))
                throw Broken($"{at}.volume", "must name a volume of the app");
            if (mount.Path is null || mount.Path.Length is < 2 or > 4096 || mount.Path[0] != '/' || mount.Path.Any(char.IsControl))
                throw Broken($"{at}.path", "must be an absolute path other than /");
            for (var j = 0; j < i; j++)
            {
                if (mounts[j].Path == mount.Path || (mounts[j].Volume ?? mounts[j].Name) == (mount.Volume ?? mount.Name))
                    throw Broken(at, "names a volume or a path twice");
            }
        }
    }

    private static void CheckRange(string field, long? value, long least, long most)
    {
        if (value is { } v && (v < least || v > most))
            throw Broken(field, $"must be {least} to {most}, not {v}");
    }

    private static void CheckOneOf(string field, string? value, params ReadOnlySpan<string> allowed)
    {
        if (value is not null && !allowed.Contains(value))
            throw Broken(field, $"must be one of {string.Join(", ", allowed.ToArray())}");
    }

    private static bool HasNul(string text) => text.Contains('\0', StringComparison.Ordinal);

    private static bool IsEmpty(System.Text.Json.JsonElement value) => value.ValueKind switch
    {
        System.Text.Json.JsonValueKind.Null => true,
        System.Text.Json.JsonValueKind.Array => value.GetArrayLength() == 0,
        System.Text.Json.JsonValueKind.Object => !value.EnumerateObject().Any(),
        System.Text.Json.JsonValueKind.String => value.GetString() is "",
        _ => false,
    };

    private static ProblemException Broken(string field, string rule) => ProblemException.Invalid($"config.{field} {rule}.");
}
