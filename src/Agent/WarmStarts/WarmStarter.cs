using Microsoft.Extensions.Logging;
using Ravel.Vmm;

namespace Ravel.Agent.WarmStarts;

/// <summary>A VM that was launched.</summary>
/// <param name="Vmm">A hold on it.</param>
/// <param name="Template">Key of the template it began as; null when it boots.</param>
internal sealed record Launched(IVmm Vmm, string? Template);

/// <summary>
/// Launches VMs from templates where there are any, and makes those that were missing, one after another, once the machine that missed
/// one is up. Whatever is wrong with a template, the machine boots instead.
/// </summary>
internal sealed class WarmStarter : IAsyncDisposable
{
    /// <summary>Templates waiting to be made; the next start that misses one asks again.</summary>
    private const int MaxQueued = 4;

    private readonly IVmmDriver _driver;
    private readonly IVmTemplates? _templates;
    private readonly TemplateStore _store;
    private readonly WarmStartOptions _options;
    private readonly string _runDirectory;
    private readonly string _cgroup;
    private readonly Func<long> _leftBytes;
    private readonly int? _userId;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Lock _gate = new();
    private readonly Dictionary<string, DateTimeOffset> _notBefore = new(StringComparer.Ordinal);
    private Task _making = Task.CompletedTask;
    private DateTimeOffset _lastEviction = DateTimeOffset.MinValue;
    private int _queued;

    /// <param name="driver">Launches; one that knows no templates always boots.</param>
    /// <param name="store">Holds them.</param>
    /// <param name="options">Limits.</param>
    /// <param name="runDirectory">Of the VM that is booted for a template.</param>
    /// <param name="cgroup">The agent's, below Ravel's own.</param>
    /// <param name="userId">Of that VM: no machine's.</param>
    /// <param name="leftBytes">What of the disk a template may take.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">For the operator.</param>
    public WarmStarter(
        IVmmDriver driver,
        TemplateStore store,
        WarmStartOptions options,
        string runDirectory,
        string cgroup,
        int? userId,
        Func<long> leftBytes,
        TimeProvider time,
        ILogger logger)
    {
        _driver = driver;
        _templates = options.IsEnabled ? driver as IVmTemplates : null;
        _store = store;
        _options = options;
        _runDirectory = runDirectory;
        _cgroup = cgroup;
        _leftBytes = leftBytes;
        _userId = userId;
        _time = time;
        _logger = logger;
    }

    /// <summary>Completes when no template is being made.</summary>
    public Task Idle
    {
        get
        {
            lock (_gate)
                return _making;
        }
    }

    private string BuilderId => $"template-{_cgroup}";

    /// <summary>Removes what the last agent was killed over.</summary>
    public async Task RecoverAsync(CancellationToken cancellationToken)
    {
        try
        {
            await PurgeAsync(cancellationToken);
            if (_templates is null)
                _store.Clear();
            else
                _store.Open();
        }
        catch (Exception e) when (e is VmmException or IOException or UnauthorizedAccessException)
        {
            // Machines that are well do not wait for it.
            _logger.LogError(e, "What is left of templates could not be removed");
        }
    }

    /// <exception cref="VmmException">It could be launched in neither way.</exception>
    public async Task<Launched> LaunchAsync(VmSpec spec, CancellationToken cancellationToken)
    {
        if (_templates is not null && spec.Restore is null && await TryLaunchWarmAsync(_templates, spec, cancellationToken) is { } warm)
            return warm;
        return new Launched(await _driver.LaunchAsync(spec, cancellationToken), null);
    }

    /// <summary>A VM like this one had to boot: the next one need not.</summary>
    public void Missed(VmSpec spec)
    {
        if (_templates is null || spec.Restore is not null)
            return;
        lock (_gate)
        {
            if (_queued >= MaxQueued || _stopping.IsCancellationRequested)
                return;
            _queued++;
            _making = MakeAsync(_making, _templates, spec);
        }
    }

    /// <summary>A guest that began as this template did not come up.</summary>
    public void Distrust(string key)
    {
        _logger.LogWarning("Template {Template} is removed: a guest that began as it did not come up", key);
        Discard(key);
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await Idle;
        _stopping.Dispose();
    }

    private async Task<Launched?> TryLaunchWarmAsync(IVmTemplates templates, VmSpec spec, CancellationToken cancellationToken)
    {
        string? key = null;
        try
        {
            key = await templates.KeyOfAsync(spec, cancellationToken);
            if (_store.Find(key) is not { } template)
                return null;
            return new Launched(await _driver.LaunchAsync(spec with { Template = template }, cancellationToken), key);
        }
        catch (Exception e) when (e is VmmException or IOException or UnauthorizedAccessException)
        {
            _logger.LogWarning("Machine VM {Vm} boots, since it could not begin as template {Template}: {Reason}", spec.Id, key, e.Message);
            if (key is not null)
                Discard(key);
            return null;
        }
    }

    private async Task MakeAsync(Task previous, IVmTemplates templates, VmSpec spec)
    {
        await previous.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        try
        {
            var key = await templates.KeyOfAsync(spec, _stopping.Token);
            if (!_store.Has(key) && HasRoom(spec) && MayMake(key))
                await MakeAsync(templates, spec, key);
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException && _stopping.IsCancellationRequested)
        {
            // The agent goes down.
        }
        catch (Exception e)
        {
            _logger.LogWarning("No template could be made for VMs like {Vm}: {Reason}", spec.Id, e.Message);
        }
        finally
        {
            lock (_gate)
                _queued--;
        }
    }

    private async Task MakeAsync(IVmTemplates templates, VmSpec spec, string key)
    {
        var begin = _time.GetTimestamp();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        limit.CancelAfter(_options.BuildTimeout);
        try
        {
            await PurgeAsync(limit.Token);
            Directory.CreateDirectory(_runDirectory);
            await templates.BuildAsync(
                spec with { Id = BuilderId, RunDirectory = _runDirectory, Cgroup = $"{_cgroup}/template", UserId = _userId }, _store.Begin(key), limit.Token);
            _store.Publish(key);
            _logger.LogInformation("Made template {Template} in {Milliseconds:0} ms", key, _time.GetElapsedTime(begin).TotalMilliseconds);
        }
        catch
        {
            Postpone(key);
            _store.Abandon(key);
            throw;
        }
        finally
        {
            await PurgeAsync(CancellationToken.None);
        }
    }

    /// <summary>Templates make starts quicker; they are no reason to have less room for machines.</summary>
    private bool HasRoom(VmSpec spec) => _leftBytes() >= (long)spec.MemoryMib << 20;

    /// <summary>Not again at once what has just failed; and who asks for ever other sizes does not keep the host busy with them.</summary>
    private bool MayMake(string key)
    {
        var now = _time.GetUtcNow();
        lock (_gate)
        {
            if (_notBefore.TryGetValue(key, out var notBefore) && now < notBefore)
                return false;
            if (!_store.IsFull)
                return true;
            if (now < _lastEviction + _options.Pause)
                return false;
            _lastEviction = now;
            return true;
        }
    }

    private void Discard(string key)
    {
        Postpone(key);
        try
        {
            _store.Remove(key);
        }
        catch (IOException e)
        {
            _logger.LogError(e, "Template {Template} could not be removed", key);
        }
    }

    private void Postpone(string key)
    {
        var now = _time.GetUtcNow();
        lock (_gate)
        {
            foreach (var (past, _) in _notBefore.Where(entry => entry.Value <= now).ToList())
                _notBefore.Remove(past);
            _notBefore[key] = now + _options.Pause;
        }
    }

    private async Task PurgeAsync(CancellationToken cancellationToken)
    {
        if (!Directory.Exists(_runDirectory))
            return;
        await _driver.PurgeAsync(BuilderId, _runDirectory, cancellationToken);
        Directory.Delete(_runDirectory, recursive: true);
    }
}
