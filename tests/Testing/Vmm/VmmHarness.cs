using System.Globalization;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Vmm;

namespace Ravel.Testing.Vmm;

/// <summary>
/// What <see cref="VmmConformance"/> needs to know of a driver under test: VMs that can be launched, workloads its guests
/// understand, and what must not be left behind. One per test; disposing it purges what the test launched.
/// </summary>
public abstract class VmmHarness : IAsyncDisposable
{
    /// <summary>How long anything may take; only a hang exceeds it.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly List<VmSpec> _specs = [];
    private readonly string _directory = Directory.CreateTempSubdirectory("rv-").FullName;
    private int _count;

    public abstract IVmmDriver Driver { get; }

    /// <summary>A driver whose VMM stays after its guest's end to be asked about it.</summary>
    public virtual bool KeepsTheGuestsEnd => true;

    /// <summary>Where the guest finds the disks of <see cref="NewDrives"/>.</summary>
    public virtual RootConfig Root => new("/dev/vda", null);

    /// <summary>Files of this test.</summary>
    protected string Files => _directory;

    public CancellationToken Deadline { get; } = new CancellationTokenSource(Limit).Token;

    /// <summary>A VM that can be launched, with two drives behind those the guest boots from, in a run directory of its own.</summary>
    public VmSpec NewSpec()
    {
        var number = Interlocked.Increment(ref _count);
        var id = string.Create(CultureInfo.InvariantCulture, $"t{Environment.ProcessId}-{Path.GetFileName(_directory)[3..]}-{number}");
        var run = Path.Combine(_directory, number.ToString(CultureInfo.InvariantCulture));
        Directory.CreateDirectory(run);
        var spec = new VmSpec
        {
            Id = id,
            RunDirectory = run,
            Cpus = 1,
            MemoryMib = 256,
            Boot = Boot,
            Drives = NewDrives(number),
            Cgroup = $"test/{id}",
            // Of nobody: neither an agent's machines nor jails have them.
            UserId = 1_890_000_000 + (Environment.ProcessId % 100_000 * 100) + (number % 100),
        };
        lock (_specs)
            _specs.Add(spec);
        return spec;
    }

    /// <summary>Arguments of a workload that prints the first line of the last drive but one, then of the last.</summary>
    public abstract IReadOnlyList<string> PrintLastDrives { get; }

    /// <summary>Arguments of a workload that prints the words and exits with the code.</summary>
    public abstract IReadOnlyList<string> PrintAndExit(string words, int code);

    /// <summary>Arguments of a workload that runs until stopped.</summary>
    public abstract IReadOnlyList<string> RunForEver { get; }

    /// <summary>Arguments of a workload that writes that much to the console and exits.</summary>
    public abstract IReadOnlyList<string> WriteConsole(int bytes);

    /// <summary>What a VM of this spec has left on the host, one line each.</summary>
    public abstract IReadOnlyList<string> Leftovers(VmSpec spec);

    /// <summary>Opens a link session with the guest.</summary>
    /// <param name="vmm">Where it runs.</param>
    /// <param name="hello">What it is told first; null = nothing of interest.</param>
    public async Task<HostLink> ConnectAsync(IVmm vmm, HostHello? hello = null)
    {
        var channel = await vmm.ConnectGuestAsync(Deadline);
        hello ??= new HostHello(LinkProtocol.MinimumVersion, LinkProtocol.Version, 0, 0);
        try
        {
            return await HostLink.ConnectAsync(channel.Stream, channel.IsLossy, hello, Deadline);
        }
        catch (OperationCanceledException e)
        {
            var console = await vmm.ReadConsoleAsync(CancellationToken.None);
            throw new TimeoutException($"The guest did not answer within {Limit.TotalSeconds} s. Its console says:\n{console}", e);
        }
    }

    public GuestConfig Configuration(IReadOnlyList<string> arguments) => new()
    {
        Hostname = "conformance",
        Root = Root,
        Workload = new ProcessConfig { Arguments = arguments },
    };

    public async ValueTask DisposeAsync()
    {
        foreach (var spec in _specs)
            await Driver.PurgeAsync(spec.Id, spec.RunDirectory, CancellationToken.None);
        Directory.Delete(_directory, recursive: true);
        await DisposeCoreAsync();
        GC.SuppressFinalize(this);
    }

    protected abstract BootSource Boot { get; }

    /// <summary>Drives of the n-th VM; the last two begin with the lines <c>second last</c> and <c>last</c>.</summary>
    protected abstract IReadOnlyList<Drive> NewDrives(int number);

    protected virtual ValueTask DisposeCoreAsync() => ValueTask.CompletedTask;

    /// <summary>The two marked drives, in order.</summary>
    protected IReadOnlyList<Drive> MarkedDrives(int number)
    {
        return [Make("second_last", "second last\n", isReadOnly: true), Make("last", "last\n", isReadOnly: false)];

        Drive Make(string id, string words, bool isReadOnly)
        {
            var path = Path.Combine(_directory, string.Create(CultureInfo.InvariantCulture, $"{number}-{id}.img"));
            File.WriteAllText(path, words);
            using var file = File.OpenWrite(path);
            file.SetLength(64 * 1024);
            return new Drive(id, path, isReadOnly);
        }
    }
}
