using Microsoft.Extensions.Logging;
using Ravel.Agent.Guests;
using Ravel.Agent.Limits;
using Ravel.Agent.Logs;
using Ravel.Agent.Networking;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable.Workflows;
using Ravel.Images;
using Ravel.Vmm;
using Ravel.Vmm.Kernels;

namespace Ravel.Agent.Instances;

/// <summary>
/// How an instance comes to be, and is taken down again:
/// <list type="number">
/// <item><c>image</c>: the rootfs is in the store, and leased.</item>
/// <item><c>disk</c>: the machine has a writable disk for that image, which is the machine's and stays, and its volumes are its own.</item>
/// <item><c>network</c>: tap, route and rules. Undo: removed.</item>
/// <item><c>launch</c>: the VMM runs. Undo: it is killed and everything of it removed.</item>
/// </list>
/// Lease and volumes are not undone here: they are let go of with the commit that ends the instance (<c>MachineActor.ReleaseHolds</c>).
/// </summary>
internal sealed class StartWorkflow
{
    public const string Image = "image";
    public const string Disk = "disk";
    public const string Network = "network";
    public const string Launch = "launch";

    /// <summary>How long a dying VMM is asked for its console.</summary>
    private static readonly TimeSpan ConsolePatience = TimeSpan.FromSeconds(2);

    /// <summary>How long a kill may take before it is tried again.</summary>
    private static readonly TimeSpan KillPatience = TimeSpan.FromSeconds(30);

    private readonly InstanceServices _services;
    private readonly InstanceResources _resources;
    private readonly Func<MachineRecord?> _machine;

    /// <param name="services">What it works with.</param>
    /// <param name="resources">Of the machine's instance.</param>
    /// <param name="machine">The machine's present record.</param>
    public StartWorkflow(InstanceServices services, InstanceResources resources, Func<MachineRecord?> machine)
    {
        _services = services;
        _resources = resources;
        _machine = machine;
        Steps = new Workflow<StartContext>(
            new WorkflowStep<StartContext>(Image, EnsureImageAsync, NothingToUndo),
            new WorkflowStep<StartContext>(Disk, EnsureDiskAsync, NothingToUndo),
            new WorkflowStep<StartContext>(Network, AttachAsync, DetachAsync),
            new WorkflowStep<StartContext>(Launch, LaunchAsync, DestroyVmmAsync));
    }

    /// <summary>Where a start begins, and where taking down begins; the same for every instance.</summary>
    public static WorkflowPosition Beginning { get; } = new(WorkflowDirection.Do, Image);

    public static WorkflowPosition End { get; } = new(WorkflowDirection.Undo, Launch);

    public Workflow<StartContext> Steps { get; }

    public static NetworkAttachment AttachmentOf(MachineId machine, InstanceId instance, int addressIndex, int networkIndex, MachineSpec spec) => new(
        instance,
        machine,
        addressIndex,
        networkIndex,
        [.. spec.Ports.Select(port => new PortMapping(
            port.Protocol, port.HostAddress.Length == 0 ? null : port.HostAddress, (int)port.HostPort, (int)port.GuestPort))])
    {
        BytesPerSecond = MachineLimits.NetworkBytesPerSecond(spec),
    };

    /// <summary>Whether what an instance has of the network is still to be taken away: not once that step is undone.</summary>
    public static bool IsAttached(InstanceRecord instance) =>
        instance.State != InstanceState.Releasing || instance.Position?.Step is Network or Launch;

    private async Task<StartContext> EnsureImageAsync(StartContext context, CancellationToken cancellationToken)
    {
        // Memory goes on over the very image it was saved over, which is leased since then.
        if (context.Facts is { Memory: not null, ImageDigest: { } digest })
        {
            if (_services.Images.Find(digest) is null)
                throw Gone(context);
            _resources.Lease ??= _services.Images.Lease(digest);
            return context;
        }
        var policy = context.Spec.PullPolicy switch
        {
            Contracts.Node.PullPolicy.Always => Images.PullPolicy.Always,
            Contracts.Node.PullPolicy.Never => Images.PullPolicy.Never,
            _ => Images.PullPolicy.Missing,
        };
        var lease = await _services.Images.AcquireAsync(context.Spec.Image, policy, null, cancellationToken);
        _resources.Lease?.Dispose();
        _resources.Lease = lease;
        // Checked before anything else is made: an image without a command would fail at the very end.
        var process = WorkloadPlan.Process(context.Spec, lease.Image.Config);
        return context with
        {
            Facts = context.Facts with { ImageDigest = lease.Image.ManifestDigest, Command = WorkloadPlan.Told(process.Arguments) },
        };
    }

    private async Task<StartContext> EnsureDiskAsync(StartContext context, CancellationToken cancellationToken)
    {
        await _services.Volumes.HoldAsync(context.Machine, VolumesOf(context.Spec), cancellationToken);
        if (context.Facts.Memory is not null)
            return context;
        var wanted = new DiskRecord(context.Facts.ImageDigest!, _services.DiskMibOf(context.Spec));
        if (context.Disk?.ImageDigest != wanted.ImageDigest || !_services.Disks.Exists(context.Machine))
            await _services.Disks.MakeAsync(context.Machine, wanted.Mib);
        else if (context.Disk.Mib < wanted.Mib)
            _services.Disks.Grow(context.Machine, wanted.Mib);
        else
            wanted = context.Disk;
        return context with { Disk = wanted, Facts = context.Facts with { Disk = wanted } };
    }

    public static IReadOnlyList<VolumeId> VolumesOf(MachineSpec spec) => [.. spec.Mounts.Select(mount => VolumeId.Parse(mount.VolumeId))];

    private async Task<StartContext> AttachAsync(StartContext context, CancellationToken cancellationToken)
    {
        var network = await _services.Network.AttachAsync(
            AttachmentOf(context.Machine, context.Instance, context.AddressIndex, context.NetworkIndex, context.Spec), cancellationToken);
        return context with { Facts = context.Facts with { Network = network } };
    }

    private Task DetachAsync(StartContext context) => _services.Network.DetachAsync(context.Instance);

    private async Task<StartContext> LaunchAsync(StartContext context, CancellationToken cancellationToken)
    {
        var id = context.Instance.ToString();
        var runDirectory = _services.RunDirectoryOf(context.Instance);
        var image = _services.Images.Find(context.Facts.ImageDigest!)
            ?? throw Gone(context);
        if (image.IsDamaged)
            throw new ImageException(ProblemCodes.ImageDamaged, $"The root file system of {context.Spec.Image} is damaged; pull or import the image again.");
        var network = context.Facts.Network!;
        // Memory goes on with the kernel it was saved with.
        var saved = context.Facts.Memory is null ? null : context.Facts.Kernel;
        using var prepared = await _services.Options.Kernels.PrepareAsync(saved?.Digest ?? context.Spec.Kernel, cancellationToken);
        var kernel = saved is not null && File.Exists(saved.InitramfsPath) ? saved : BootedKernel.Of(prepared);
        if (context.Facts.Memory is null)
            CheckMemory(prepared, context.Spec);
        // A launch that was begun before a crash may have left a VMM nobody knows of.
        if (Directory.Exists(runDirectory))
            await _services.Driver.PurgeAsync(id, runDirectory, cancellationToken);
        Directory.CreateDirectory(runDirectory);
        var spec = new VmSpec
        {
            Id = id,
            RunDirectory = runDirectory,
            Cpus = (int)context.Spec.Cpus,
            MemoryMib = (int)context.Spec.MemoryMib,
            Boot = new BootSource(kernel.KernelPath, kernel.InitramfsPath),
            Drives =
            [
                new Drive("rootfs", image.RootfsPath, ReadOnly: true),
                new Drive("disk", _services.Disks.PathOf(context.Machine), ReadOnly: false),
                .. context.Spec.Mounts.Select((mount, i) => new Drive(
                    $"volume{i}", _services.Volumes.PathOf(VolumeId.Parse(mount.VolumeId)), mount.ReadOnly)),
            ],
            Networks = [new NetworkInterface("eth0", network.Tap, network.Mac)],
            Cgroup = $"{_services.Options.Cgroup}/{id}",
            Limits = MachineLimits.Of(context.Spec),
            UserId = _services.Options.FirstUserId + context.AddressIndex,
            Restore = context.Facts.Memory,
            // It goes on when this VMM is in the journal: until then the memory can be restored again.
            IsPausedAfterRestore = true,
        };
        var launched = await _services.WarmStarts.LaunchAsync(spec, cancellationToken);
        _resources.Vmm = launched.Vmm;
        _resources.Template = launched.Template;
        _resources.Booting = launched.Template is null && spec.Restore is null ? spec : null;
        return context with
        {
            Facts = context.Facts with
            {
                Vmm = _resources.Vmm.Record,
                Kernel = kernel,
                Memory = null,
                IsRestored = context.Facts.Memory is not null,
            },
        };
    }

    /// <summary>A guest with too little would end without a word of why.</summary>
    private static void CheckMemory(PreparedKernel kernel, MachineSpec spec)
    {
        var minimum = kernel.Memory?.MinimumMib((int)spec.Cpus) ?? 0;
        if ((int)spec.MemoryMib < minimum)
        {
            throw new InstanceException(
                ProblemCodes.InvalidRequest,
                $"{spec.MemoryMib} MiB of memory are too little for its kernel, which needs {minimum}; give it --memory {minimum}m, or a smaller kernel (ravel kernel build)");
        }
    }

    private static Task NothingToUndo(StartContext context) => Task.CompletedTask;

    private static ImageException Gone(StartContext context) =>
        new(ProblemCodes.ImageNotFound, $"The image {context.Spec.Image} is no longer in the store; pull it again.");

    private async Task DestroyVmmAsync(StartContext context)
    {
        await ExplainAsync(context);
        if (_resources.Template is { } template && _machine()?.Instance is { Problem: not null })
            _services.WarmStarts.Distrust(template);
        _resources.Template = null;
        _resources.Booting = null;
        var vmm = _resources.Vmm;
        _resources.Vmm = null;
        _resources.IsPaused = false;
        if (_resources.Session is { } session)
            await session.DisposeAsync();
        _resources.Session = null;
        if (vmm is not null)
        {
            await using (vmm)
            {
                using var patience = new CancellationTokenSource(KillPatience, _services.Time);
                await vmm.KillAsync(patience.Token);
            }
        }
        var runDirectory = _services.RunDirectoryOf(context.Instance);
        await _services.Driver.PurgeAsync(context.Instance.ToString(), runDirectory, CancellationToken.None);
        if (Directory.Exists(runDirectory))
            Directory.Delete(runDirectory, recursive: true);
    }

    /// <summary>Leaves in the log why an instance failed, with the end of its console if it has one.</summary>
    private async Task ExplainAsync(StartContext context)
    {
        if (_machine()?.Instance is not { Problem: { } problem } instance || instance.Id != context.Instance)
            return;
        try
        {
            var log = _services.Logs.Of(context.Machine);
            log.AppendSystem(context.Instance, problem.Message, UnixTime.Nanoseconds(_services.Time));
            if (_resources.Vmm is not { } vmm)
                return;
            using var patience = new CancellationTokenSource(ConsolePatience, _services.Time);
            var console = await vmm.ReadConsoleAsync(patience.Token);
            foreach (var line in console.Split('\n', StringSplitOptions.RemoveEmptyEntries).TakeLast(50))
                log.AppendSystem(context.Instance, "console: " + line.TrimEnd('\r'), UnixTime.Nanoseconds(_services.Time));
        }
        catch (Exception e) when (e is IOException or VmmException or OperationCanceledException)
        {
            _services.Logger.LogInformation("The console of {Instance} could not be kept: {Reason}", context.Instance, e.Message);
        }
    }
}

/// <summary>What the steps of a start know: fixed when it began, but for <see cref="Facts"/> and <see cref="Disk"/>.</summary>
internal sealed record StartContext(
    MachineId Machine,
    InstanceId Instance,
    MachineSpec Spec,
    int AddressIndex,
    int NetworkIndex,
    DiskRecord? Disk,
    StartFacts Facts);
