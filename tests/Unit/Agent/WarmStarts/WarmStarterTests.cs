using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Ravel.Agent.WarmStarts;
using Ravel.Testing.Agent;
using Ravel.Testing.Vmm;
using Ravel.Vmm;
using Ravel.Vmm.Fake;

namespace Ravel.Unit.Agent.WarmStarts;

public sealed class WarmStarterTests : IAsyncLifetime
{
    private readonly FakeVmmHarness _harness = new();
    private readonly FakeTimeProvider _time = new(DateTimeOffset.UnixEpoch.AddYears(60));
    private readonly string _directory = Directory.CreateTempSubdirectory("rv-warm-").FullName;
    private readonly FakeTemplates _driver = new(new FakeVmmDriver());
    private long _leftBytes = long.MaxValue;
    private WarmStarter _starter = null!;

    private string Templates => Path.Combine(_directory, "templates");

    private string RunDirectory => Path.Combine(_directory, "run");

    public async ValueTask InitializeAsync() => await BeginAsync(new WarmStartOptions { MaxTemplates = 2 });

    public async ValueTask DisposeAsync()
    {
        await _starter.DisposeAsync();
        await _harness.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task The_first_VM_of_a_shape_boots_and_those_after_it_begin_as_its_template()
    {
        var first = _harness.NewSpec();
        Assert.Null((await LaunchAsync(first)).Template);
        Assert.Equal(0, _driver.Builds);
        _starter.Missed(first);
        await _starter.Idle;

        var second = _harness.NewSpec();
        var other = _harness.NewSpec() with { MemoryMib = 512 };
        Assert.NotNull((await LaunchAsync(second)).Template);
        Assert.Null((await LaunchAsync(other)).Template);
        Assert.Equal([first.Id, second.Id + "*", other.Id], _driver.Launches);
        Assert.False(Directory.Exists(RunDirectory));
    }

    [Fact]
    public async Task Many_VMs_that_miss_a_template_have_it_made_once()
    {
        for (var i = 0; i < 20; i++)
            _starter.Missed(_harness.NewSpec());
        await _starter.Idle;

        Assert.Equal(1, _driver.Builds);
    }

    [Fact]
    public async Task A_damaged_template_is_removed_and_the_VM_boots()
    {
        _starter.Missed(_harness.NewSpec());
        await _starter.Idle;
        File.Delete(Assert.Single(Directory.EnumerateFiles(Templates, "*", SearchOption.AllDirectories)));

        var spec = _harness.NewSpec();
        Assert.Null((await LaunchAsync(spec)).Template);
        Assert.Equal([spec.Id], _driver.Launches);
        Assert.Empty(Directory.EnumerateFileSystemEntries(Templates));
    }

    [Fact]
    public async Task A_template_that_failed_is_made_again_only_after_a_while()
    {
        _driver.Building = _ => throw new VmmException("no");
        await MissAsync(256);
        Assert.Empty(Directory.EnumerateFileSystemEntries(Templates));
        _driver.Building = _ => Task.CompletedTask;
        await MissAsync(256);
        Assert.Equal(1, _driver.Builds);

        _time.Advance(TimeSpan.FromMinutes(2));
        await MissAsync(256);
        var key = Assert.Single(Keys());
        _starter.Distrust(key);
        Assert.Empty(Keys());
        await MissAsync(256);
        Assert.Equal(2, _driver.Builds);
    }

    [Fact]
    public async Task Above_the_limit_the_one_not_used_for_longest_goes_and_not_too_often()
    {
        await MissAsync(128);
        _time.Advance(TimeSpan.FromSeconds(1));
        await MissAsync(256);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.NotNull((await LaunchAsync(_harness.NewSpec() with { MemoryMib = 128 })).Template);
        _time.Advance(TimeSpan.FromSeconds(1));

        await MissAsync(512);
        Assert.Equal(["1-128", "1-512"], Keys());
        await MissAsync(1024);
        Assert.Equal(["1-128", "1-512"], Keys());
        _time.Advance(TimeSpan.FromMinutes(2));
        await MissAsync(1024);
        Assert.Equal(["1-1024", "1-512"], Keys());
    }

    [Fact]
    public async Task What_a_crash_left_half_made_or_half_removed_is_no_template()
    {
        await MissAsync(256);
        Directory.CreateDirectory(Path.Combine(Templates, "1-512.partial"));
        Directory.CreateDirectory(Path.Combine(Templates, "1-128.removed"));
        Directory.CreateDirectory(RunDirectory);

        await BeginAsync(new WarmStartOptions());

        Assert.Equal(["1-256"], Directory.EnumerateFileSystemEntries(Templates).Select(Path.GetFileName));
        Assert.False(Directory.Exists(RunDirectory));
        Assert.NotNull((await LaunchAsync(_harness.NewSpec())).Template);
    }

    [Fact]
    public async Task An_agent_that_goes_down_leaves_no_template_half_made()
    {
        var begun = new TaskCompletionSource();
        _driver.Building = async cancellation =>
        {
            begun.SetResult();
            await Task.Delay(Timeout.Infinite, cancellation);
        };
        _starter.Missed(_harness.NewSpec());
        await begun.Task;

        await BeginAsync(new WarmStartOptions());

        Assert.Empty(Directory.EnumerateFileSystemEntries(Templates));
        Assert.False(Directory.Exists(RunDirectory));
    }

    [Fact]
    public async Task Switched_off_no_template_is_kept_made_or_used()
    {
        await MissAsync(256);

        await BeginAsync(new WarmStartOptions { IsEnabled = false });

        Assert.False(Directory.Exists(Templates));
        Assert.Null((await LaunchAsync(_harness.NewSpec())).Template);
        await MissAsync(256);
        Assert.Equal(1, _driver.Builds);
    }

    [Fact]
    public async Task No_template_is_made_where_it_would_take_room_that_is_promised()
    {
        _leftBytes = (256L << 20) - 1;
        await MissAsync(256);
        Assert.Equal(0, _driver.Builds);
        _leftBytes++;
        await MissAsync(256);
        Assert.Equal(1, _driver.Builds);
    }

    private async Task BeginAsync(WarmStartOptions options)
    {
        if (_starter is not null)
            await _starter.DisposeAsync();
        _starter = new WarmStarter(
            _driver, new TemplateStore(Templates, options.MaxTemplates, _time), options, RunDirectory, "0", null, () => _leftBytes, _time, NullLogger.Instance);
        await _starter.RecoverAsync(CancellationToken.None);
    }

    private async Task MissAsync(int memoryMib)
    {
        _starter.Missed(_harness.NewSpec() with { MemoryMib = memoryMib });
        await _starter.Idle;
    }

    private async Task<Launched> LaunchAsync(VmSpec spec)
    {
        var launched = await _starter.LaunchAsync(spec, _harness.Deadline);
        await launched.Vmm.DisposeAsync();
        return launched;
    }

    private IEnumerable<string> Keys() => Directory.EnumerateDirectories(Templates).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal);
}
