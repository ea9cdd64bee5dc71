using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.Testing.EndToEnd;
using Ravel.Testing.Leaks;

namespace Ravel.EndToEnd.Path;

/// <summary>
/// The daemon is killed at random moments while machines are created, run, suspended, resumed, stopped and removed. What is asserted
/// after each kill: every machine comes to the state its owner asked for, or to one its workload explains. At the end: nothing is left on
/// the host.
/// </summary>
[Collection(nameof(OneHost))]
public sealed class KillTests
{
    /// <summary>A machine and a job at a time: what is tested is the daemon, and guests without KVM are slow.</summary>
    private const int Names = 2;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    [Fact]
    public Task Four_kills_at_random_moments_leave_every_machine_right_and_the_host_clean() => KillAsync(kills: 4, seed: 4);

    [Fact(Explicit = true)]
    [Trait("Kind", "Soak")]
    public Task Fifty_kills_at_random_moments_leave_every_machine_right_and_the_host_clean() => KillAsync(kills: 50, seed: 50);

    private static async Task KillAsync(int kills, int seed)
    {
        var cancellation = TestContext.Current.CancellationToken;
        var output = TestContext.Current.TestOutputHelper!;
        var random = new Random(seed);
        await using var host = await RavelHost.CreateAsync();
        await using (var images = await HostImages.ServeAsync(host))
        {
            await host.UpAsync();
            await host.RavelOkAsync("pull", images.Busybox);
            IReadOnlyList<Machine> machines = [];
            var (seen, started) = (0, 0);
            for (var kill = 1; kill <= kills; kill++)
            {
                var commands = Enumerable.Range(0, Names).Select(i => Choose(random, machines.FirstOrDefault(machine => machine.Name == $"m{i}"), $"m{i}", images.Busybox)).ToList();
                var delay = random.Next(0, 2500);
                var running = commands.ConvertAll(command => host.RavelAsync(command, host.DataDirectory, timeout: Patience));
                await Task.Delay(delay, cancellation);
                await host.KillDaemonAsync();
                // Refused, cut off or done: the client's answer says nothing of what the daemon had begun.
                await Task.WhenAll(running);
                await host.UpAsync();
                machines = await SettledAsync(host);
                seen += machines.Count;
                started += machines.Count(machine => machine.State == MachineStates.Started);
                output.WriteLine($"kill {kill} after {delay} ms of {string.Join(" | ", commands.Select(c => string.Join(' ', c.Take(4))))}: {string.Join(", ", machines.Select(Describe))}");
            }

            // With nothing there, or nothing that ran, the kills would have shown nothing.
            Assert.True(seen > 0 && started > 0, $"after all kills together {seen} machines were there, {started} of them started");

            // Whatever state they are in, they can all be removed, and their disks with them.
            var all = (await host.RavelOkAsync("ps", "-aq")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            if (all.Length > 0)
                await host.RavelOkAsync(["rm", "-f", .. all]);
        }
        Assert.Empty(MachineFiles(host.DataDirectory));
        await host.RavelOkAsync("down");
        Assert.Empty(await LeftoversAsync(host, cancellation));
    }

    /// <summary>By the names that only this host's have: others may run on the same machine.</summary>
    private static async Task<IReadOnlyList<string>> LeftoversAsync(RavelHost host, CancellationToken cancellationToken)
    {
        using var record = JsonDocument.Parse(await File.ReadAllBytesAsync(System.IO.Path.Combine(host.DataDirectory, "slot.json"), cancellationToken));
        var slot = record.RootElement.GetProperty("Slot").GetInt32();
        var here = (await HostSnapshot.TakeAsync(cancellationToken)).Resources.Where(resource => resource.Kind switch
        {
            HostResourceKind.Process => resource.Detail.Contains(host.Scratch, StringComparison.Ordinal) && !resource.Name.StartsWith("docker-registry", StringComparison.Ordinal),
            HostResourceKind.Mount => resource.Name.Contains(host.Scratch, StringComparison.Ordinal),
            HostResourceKind.Cgroup => (resource.Name + "/").Contains($"/ravel/{slot}/", StringComparison.Ordinal),
            HostResourceKind.RunDirectory => resource.Name == $"/run/ravel/{slot}",
            _ => false,
        });
        var links = (await host.InNamespaceAsync("ip", "-br", "link", "show", "type", "tun")).Output;
        var tables = (await host.InNamespaceAsync("nft", "list", "tables")).Output;
        return [.. here.Select(resource => resource.ToString()), .. $"{links}\n{tables}".Split('\n').Where(line => line.Contains("rv") || line.Contains("ravel"))];
    }

    /// <summary>Something that can be done to a machine in the state it is in; a missing one is made.</summary>
    private static string[] Choose(Random random, Machine? machine, string name, string image) => (machine?.State, random.Next(4)) switch
    {
        (null, 0) => ["run", "-d", "--name", name, image, "sh", "-c", "exit 3"],
        (null, _) => ["run", "-d", "--name", name, image, "sleep", "600"],
        (MachineStates.Started, 0 or 1) => ["suspend", name],
        (MachineStates.Started, 2) => ["stop", "-t", "1", name],
        (MachineStates.Suspended or MachineStates.Stopped or MachineStates.Created, not 3) => ["start", name],
        _ => ["rm", "-f", name],
    };

    /// <summary>Waits until no machine is under way to anywhere, and checks what each is.</summary>
    private static async Task<IReadOnlyList<Machine>> SettledAsync(RavelHost host)
    {
        var began = Stopwatch.GetTimestamp();
        while (true)
        {
            // In one answer: a machine that is being removed may be gone before a second question.
            var machines = JsonSerializer.Deserialize(await host.RavelOkAsync("ps", "-a", "--json"), ApiJson.Default.IReadOnlyListMachine)!.ToList();
            var late = Stopwatch.GetElapsedTime(began) > Patience;
            // As many hypervisors as machines that run, and none for one that does not.
            var hypervisors = host.OpenRootfsFiles().Count;
            if (!late && (machines.Exists(machine => !IsAtRest(machine)) || hypervisors != machines.Count(machine => machine.State == MachineStates.Started)))
            {
                await Task.Delay(250);
                continue;
            }
            var states = string.Join(", ", machines.Select(Describe));
            Assert.True(!late, $"a machine stays under way, with {hypervisors} hypervisors: {states}");
            foreach (var machine in machines)
                AssertRight(machine);
            foreach (var machine in machines.Where(machine => machine.State == MachineStates.Started))
                Assert.Equal("alive\n", await host.RavelOkAsync("exec", machine.Id.Value, "echo", "alive"));
            return machines;
        }
    }

    private static bool IsAtRest(Machine machine) =>
        machine.State is MachineStates.Created or MachineStates.Stopped or MachineStates.Suspended or MachineStates.Failed
        || (machine.State == MachineStates.Started && machine.Config.Init?.Cmd?[0] == "sleep");

    private static void AssertRight(Machine machine)
    {
        Assert.True(machine.State != MachineStates.Failed, $"{Describe(machine)}: {machine.Problem?.Message}");
        // The job's own end, if nobody ended it before: never another code, never lost.
        if (machine is { State: MachineStates.Stopped, Exit: { RequestedStop: false } exit } && machine.Config.Init?.Cmd?[0] == "sh")
            Assert.Equal(3, exit.ExitCode);
    }

    /// <summary>Disks, memory and logs of machines.</summary>
    private static IEnumerable<string> MachineFiles(string data) => new[] { "disks", "memory", "logs" }
        .Select(name => System.IO.Path.Combine(data, "agent", name))
        .Where(Directory.Exists)
        .SelectMany(directory => Directory.EnumerateFileSystemEntries(directory, "*", SearchOption.TopDirectoryOnly))
        .Where(path => System.IO.Path.GetFileName(path) != "templates");

    private static string Describe(Machine machine) =>
        $"{machine.Name} {machine.State}{(machine.Exit is { } exit ? $" ({exit.ExitCode.ToString(CultureInfo.InvariantCulture)})" : "")}";
}
