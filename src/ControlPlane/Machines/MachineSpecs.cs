using Google.Protobuf.WellKnownTypes;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Kernels;
using Ravel.ControlPlane.Recovery;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Machines;

/// <summary>From what the API took to what a node is told. Pure.</summary>
internal static class MachineSpecs
{
    private const uint DefaultCpus = 1;
    private const ulong DefaultMemoryMib = 256;

    /// <summary>What a node must set aside.</summary>
    public static Rpc.Resources Resources(MachineConfig config) => new()
    {
        Cpus = (uint?)config.Guest?.Cpus ?? DefaultCpus,
        MemoryMib = (ulong?)config.Guest?.MemoryMb ?? DefaultMemoryMib,
        DiskMib = (ulong?)config.Guest?.DiskMb ?? 0,
        Machines = 1,
    };

    /// <summary>The newest intent of a machine as a command.</summary>
    public static Rpc.PutMachineRequest Command(MachineRow row, string app) => new()
    {
        MachineId = row.Id,
        Generation = (ulong)row.Generation,
        Desired = row.Desired switch
        {
            DesiredState.Started => Rpc.DesiredState.Started,
            DesiredState.Stopped => Rpc.DesiredState.Stopped,
            DesiredState.Suspended => Rpc.DesiredState.Suspended,
            _ => Rpc.DesiredState.Destroyed,
        },
        Spec = row.Desired == DesiredState.Destroyed ? null : Spec(row, app),
        ReservationId = row.ReservationId ?? "",
        Force = row.Force,
    };

    private static Rpc.MachineSpec Spec(MachineRow row, string app)
    {
        var config = row.ReadConfig();
        var resources = Resources(config);
        var spec = new Rpc.MachineSpec
        {
            Namespace = row.Namespace,
            App = app,
            Name = row.Name,
            Image = config.Image,
            Stays = config.OnNodeLoss == MoveRules.StayThere,
            PullPolicy = config.PullPolicy switch
            {
                "always" => Rpc.PullPolicy.Always,
                "never" => Rpc.PullPolicy.Never,
                _ => Rpc.PullPolicy.Missing,
            },
            Cpus = resources.Cpus,
            MemoryMib = resources.MemoryMib,
            DiskMib = resources.DiskMib,
            Entrypoint = List(config.Init?.Exec ?? config.Init?.Entrypoint),
            Command = Command(config.Init),
            User = config.Init?.User ?? "",
            WorkingDirectory = config.Init?.WorkingDir ?? "",
            Restart = Restart(config.Restart),
            Stop = Stop(row, config.StopConfig),
            Tty = config.Init?.Tty ?? false,
            Kernel = KernelPins.DigestOf(config.Guest?.Kernel),
            Stdin = config.Init?.Stdin ?? false,
            Limits = Limits(config.Guest),
        };
        foreach (var (name, value) in config.Env ?? new Dictionary<string, string>())
            spec.Environment.Add(new Rpc.EnvironmentVariable { Name = name, Value = value });
        foreach (var mount in config.Mounts ?? [])
            spec.Mounts.Add(new Rpc.VolumeMount { VolumeId = mount.Volume, Path = mount.Path, ReadOnly = mount.ReadOnly ?? false });
        foreach (var port in config.PublishedPorts ?? [])
        {
            spec.Ports.Add(new Rpc.PublishedPort
            {
                Protocol = port.Protocol ?? "tcp",
                HostAddress = port.HostAddress ?? "",
                HostPort = (uint)port.HostPort,
                GuestPort = (uint)port.GuestPort,
            });
        }
        return spec;
    }

    private static Rpc.ResourceLimits? Limits(GuestSize? guest) =>
        guest is null or { CpuWeight: null, CpuLimit: null, DiskBps: null, DiskIops: null, NetBps: null }
            ? null
            : new Rpc.ResourceLimits
            {
                CpuWeight = (uint)(guest.CpuWeight ?? 0),
                CpuThousandths = (uint)Math.Round((guest.CpuLimit ?? 0) * 1000),
                DiskBytesPerSecond = (ulong)(guest.DiskBps ?? 0),
                DiskOperationsPerSecond = (ulong)(guest.DiskIops ?? 0),
                NetworkBytesPerSecond = (ulong)(guest.NetBps ?? 0),
            };

    /// <summary>As Docker does: a new entrypoint takes the image's command away, because that was meant for the old one.</summary>
    private static Rpc.StringList? Command(InitConfig? init)
    {
        if (init?.Exec is not null)
            return new Rpc.StringList();
        if (init?.Cmd is not null)
            return List(init.Cmd);
        return init?.Entrypoint is not null ? new Rpc.StringList() : null;
    }

    private static Rpc.StringList? List(IReadOnlyList<string>? values)
    {
        if (values is null)
            return null;
        var list = new Rpc.StringList();
        list.Values.AddRange(values);
        return list;
    }

    private static Rpc.RestartPolicy Restart(RestartConfig? restart) => new()
    {
        Kind = restart?.Policy switch
        {
            "always" => Rpc.RestartPolicy.Types.Kind.Always,
            "on-failure" => Rpc.RestartPolicy.Types.Kind.OnFailure,
            _ => Rpc.RestartPolicy.Types.Kind.No,
        },
        MaxRetries = (uint?)restart?.MaxRetries ?? 0,
    };

    private static Rpc.StopPolicy Stop(MachineRow row, StopConfig? stop)
    {
        var signal = row.StopSignal ?? (Signals.TryParse(stop?.Signal, out var configured) ? configured : 0);
        var seconds = row.StopTimeoutSeconds ?? stop?.Timeout;
        return new Rpc.StopPolicy
        {
            Signal = signal,
            Timeout = seconds is null ? null : Duration.FromTimeSpan(TimeSpan.FromSeconds(seconds.Value)),
        };
    }
}
