using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Ravel.Agent.Capacity;
using Ravel.Agent.Disks;
using Ravel.Agent.Instances;
using Ravel.Agent.Journal;
using Ravel.Agent.Logs;
using Ravel.Agent.Machines;
using Ravel.Agent.Networking;
using Ravel.Agent.Recovery;
using Ravel.Agent.WarmStarts;
using Ravel.Durable;
using Ravel.Durable.Reconcilers;
using Ravel.Images;
using Ravel.Vmm;

namespace Ravel.Agent;

/// <summary>The agent role of a process: takes its node over when it starts, and lets go of it, running as it is, when it stops.</summary>
internal sealed class NodeAgent : IHostedService, IAsyncDisposable
{
    /// <summary>Of what machines are promised room for.</summary>
    private static readonly string[] OwnedDirectories = ["disks", "volumes", "memory", "logs"];

    private readonly AgentOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger<NodeAgent> _logger;
    private readonly JournalFaults? _faults;
    private readonly CancellationTokenSource _stopping = new();
    private readonly IVmmDriver _driver;
    private readonly IImageStore _images;
    private readonly SharedNetwork _network;
    private AgentJournal? _journal;
    private LogStore? _logs;
    private VolumeStore? _volumes;
    private InstanceServices? _services;
    private NodeMachines? _machines;
    private WarmStarter? _warmStarts;
    private ReconcilerLoop? _reconciler;
    private Task _reconciling = Task.CompletedTask;
    private bool _isDisposed;

    public NodeAgent(
        AgentOptions options, IVmmDriver driver, IImageStore images, INodeNetwork network, TimeProvider time, ILogger<NodeAgent> logger)
        : this(options, driver, images, network, time, logger, null)
    {
    }

    internal NodeAgent(
        AgentOptions options,
        IVmmDriver driver,
        IImageStore images,
        INodeNetwork network,
        TimeProvider time,
        ILogger<NodeAgent> logger,
        JournalFaults? faults)
    {
        _options = options;
        _driver = driver;
        _images = images;
        _network = new SharedNetwork(network, limits: !driver.LimitsNetwork);
        _time = time;
        _logger = logger;
        _faults = faults;
    }

    public AgentOptions Options => _options;

    public IImageStore Images => _images;

    public TimeProvider Time => _time;

    public LogStore Logs => _logs ?? throw NotStarted();

    public VolumeStore Volumes => _volumes ?? throw NotStarted();

    public InstanceServices Services => _services ?? throw NotStarted();

    public NodeMachines Machines => _machines ?? throw NotStarted();

    /// <summary>What of the disk is neither taken nor promised to a machine, in bytes; images, archives and templates may take that and no more.</summary>
    public Func<long> LeftBytes { get; private set; } = () => throw NotStarted();

    public string NodeId => (_journal ?? throw NotStarted()).NodeId;

    public IVmmDriver Driver => _driver;

    /// <summary>What the VMM driver can do here, asked once.</summary>
    public VmmProbe Probe { get; private set; } = new(false, "", "none", []);

    /// <exception cref="JournalException">The journal cannot be opened.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(_options.AgentDirectory);
        // Also where somebody made the data directory for all to enter: disks, logs and saved memory are in it.
        File.SetUnixFileMode(_options.AgentDirectory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        _journal = AgentJournal.Open(Path.Combine(_options.AgentDirectory, "journal.db"), _faults);
        var room = new DiskRoom(
            _options.DataDirectory,
            [.. OwnedDirectories.Select(name => Path.Combine(_options.AgentDirectory, name))],
            _options.Capacity,
            _time);
        var ledger = new CapacityLedger(HostCapacity.Read(_options.Capacity), room.TotalMib);
        LeftBytes = () => room.LeftMib(ledger.Allocated(_time.GetUtcNow()).DiskMib) << 20;
        _images.KeepWithin(LeftBytes);
        _logs = new LogStore(Path.Combine(_options.AgentDirectory, "logs"), _options.Logs, _time);
        var disks = new DiskStore(Path.Combine(_options.AgentDirectory, "disks"));
        var templates = new TemplateStore(Path.Combine(_options.AgentDirectory, "templates"), _options.WarmStarts.MaxTemplates, _time);
        _warmStarts = new WarmStarter(
            _driver, templates, _options.WarmStarts, Path.Combine(_options.RunDirectory, "template"), _options.Cgroup, _options.FirstUserId, LeftBytes, _time, _logger);
        _volumes = new VolumeStore(Path.Combine(_options.AgentDirectory, "volumes"), ledger, _time);
        var services = _services = new InstanceServices(_options, _driver, _images, _network, disks, _volumes, _logs, _warmStarts, _time, _logger);
        _machines = new NodeMachines(services, _journal, ledger);
        _images.KeepFor(() => _machines.Records.Select(record => record.ImageDigest).OfType<string>().ToHashSet(StringComparer.Ordinal));
        // Archives that an agent was killed over.
        if (Directory.Exists(_options.ImportsDirectory))
            Directory.Delete(_options.ImportsDirectory, recursive: true);
        Probe = await _driver.ProbeAsync(cancellationToken);
        foreach (var problem in Probe.Problems)
            _logger.LogWarning("{Subject}: {Message} ({Remedy})", problem.Subject, problem.Message, problem.Remedy);
        await _options.Kernels.PruneAsync(KernelUse.Paths(_journal.Contents.Machines), cancellationToken);
        await _warmStarts.RecoverAsync(cancellationToken);
        await new AgentRecovery(services, _journal, _machines).RunAsync(cancellationToken);
        await CollectImagesAsync(cancellationToken);
        _reconciler = new ReconcilerLoop(
            _network.ReconcileAsync,
            _options.ReconcileInterval,
            BackoffPolicy.Default,
            _time,
            e => _logger.LogError(e, "The network could not be compared with the journal"));
        _reconciling = ReconcileLaterAsync(_reconciler);
    }

    public async Task StopAsync(CancellationToken cancellationToken) => await DisposeAsync();

    public async ValueTask DisposeAsync()
    {
        if (_isDisposed)
            return;
        _isDisposed = true;
        await _stopping.CancelAsync();
        await _reconciling;
        if (_machines is not null)
            await _machines.DisposeAsync();
        if (_warmStarts is not null)
            await _warmStarts.DisposeAsync();
        _logs?.Dispose();
        if (_journal is not null)
            await _journal.DisposeAsync();
        _reconciler?.Dispose();
        _network.Dispose();
        _stopping.Dispose();
    }

    private static InvalidOperationException NotStarted() => new("The agent has not started yet.");

    /// <summary>For a limit that is new, or a collection that was broken off.</summary>
    private async Task CollectImagesAsync(CancellationToken cancellationToken)
    {
        try
        {
            foreach (var image in await _images.CollectAsync(cancellationToken))
                _logger.LogInformation("Removed image {Image} ({Bytes} bytes): the images were over their limit", image.ManifestDigest, image.RootfsBytes);
        }
        catch (ImageException e)
        {
            _logger.LogWarning("Images over the limit could not be removed: {Reason}", e.Message);
        }
    }

    /// <summary>The recovery was the first pass.</summary>
    private async Task ReconcileLaterAsync(ReconcilerLoop loop)
    {
        try
        {
            await Task.Delay(_options.ReconcileInterval, _time, _stopping.Token);
        }
        catch (OperationCanceledException)
        {
            return;
        }
        await loop.RunAsync(_stopping.Token);
    }
}
