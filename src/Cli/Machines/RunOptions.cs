using System.CommandLine;
using Ravel.Cli.Errors;
using Ravel.Cli.Parsing;
using Ravel.Cli.Shell;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>The options of <c>run</c> and <c>create</c>, and the request that they add up to.</summary>
internal sealed class RunOptions
{
    public Option<string?> Name { get; } = CliOptions.Text("--name", "NAME", "Name of the machine; made up if absent");

    public Option<string?> App { get; } = CliOptions.Text("--app", "NAME", "App it belongs to, made if absent (default \"default\")");

    public LimitOptions Limits { get; } = new("Virtual CPUs (default 1); 0.5 = one, of which it gets half the time");

    public Option<int?> Memory { get; } = CliOptions.Parsed<int?>(
        "--memory", "SIZE", "Memory: 512 (MiB), 512m, 1g (default 256m)", text => Values.Mebibytes(text), "-m");

    public Option<int?> Disk { get; } = CliOptions.Parsed<int?>(
        "--disk", "SIZE", "Size of the writable disk: 2g", text => Values.Mebibytes(text));

    public Option<string?> Kernel { get; } = CliOptions.Text("--kernel", "NAME", "Kernel to boot, see `ravel kernel ls` (default the host's default)");

    public Option<string[]> Env { get; } = CliOptions.Texts("--env", "KEY[=VALUE]", "Set a variable, or pass on your own", "-e");

    public Option<string[]> EnvFile { get; } = CliOptions.Texts("--env-file", "FILE", "Read variables from a file, one KEY=VALUE a line");

    public Option<PortConfig[]> Publish { get; } = CliOptions.ParsedMany(
        "--publish", "[IP:]HOST:GUEST[/udp]", "Make a port of the guest reachable through the host", Values.Port, "-p");

    public Option<MountConfig[]> Volume { get; } = CliOptions.ParsedMany(
        "--volume", "NAME:/PATH[:ro]", "Mount a volume, made if absent", Values.Mount, "-v");

    public Option<bool> Remove { get; } = CliOptions.Flag("--rm", "Remove the machine when its workload has ended");

    public Option<string?> Pull { get; } = CliOptions.OneOf("--pull", "When to ask the registry (default missing)", "missing", "always", "never");

    public Option<RestartConfig?> Restart { get; } = CliOptions.Parsed<RestartConfig?>(
        "--restart", "POLICY", "no, on-failure[:N] or always (default no)", Values.Restart);

    public Option<string?> Entrypoint { get; } = CliOptions.Text("--entrypoint", "PROGRAM", "Run this instead of the image's entrypoint");

    public Option<string?> User { get; } = CliOptions.Text("--user", "USER[:GROUP]", "Run as this user", "-u");

    public Option<string?> WorkingDirectory { get; } = CliOptions.Text("--workdir", "DIR", "Run in this directory", "-w");

    public Option<bool> Interactive { get; } = CliOptions.Flag("--interactive", "Give it your standard input", "-i");

    public Option<bool> Tty { get; } = CliOptions.Flag("--tty", "Give it a terminal", "-t");

    public Option<string?> StopSignal { get; } = CliOptions.Text(
        "--stop-signal", "SIGNAL", "Signal that asks the workload to end (default the image's, else SIGTERM)");

    public Option<TimeSpan?> StopTimeout { get; } = CliOptions.Parsed<TimeSpan?>(
        "--stop-timeout", "TIME", "Time to end after it, before SIGKILL (default 10s)", text => Values.Duration(text));

    public Option<string[]> Label { get; } = CliOptions.Texts("--label", "KEY=VALUE", "Attach metadata", "-l");

    public Option<string?> Region { get; } = CliOptions.Text("--region", "NAME", "Run it in this region");

    public Option<string[]> Constraint { get; } = CliOptions.Texts("--constraint", "LABEL=VALUE", "Run it on a node whose labels say so: disk=ssd, disk!=hdd, gpu");

    public Option<TimeSpan?> WaitForCapacity { get; } = CliOptions.Parsed<TimeSpan?>(
        "--wait-for-capacity", "TIME", "Wait so long for room on a node (default: not at all)", text => Values.Duration(text));

    public Argument<string> Image { get; } = new("IMAGE");

    public Argument<string[]> Command { get; } = new("COMMAND") { Arity = ArgumentArity.ZeroOrMore };

    public RunOptions()
    {
        Image.CompletionSources.Add(Completions.Images);
        Kernel.CompletionSources.Add(Completions.Kernels);
        Restart.CompletionSources.Add("no", "on-failure", "always");
    }

    public void AddTo(Command command)
    {
        foreach (var option in (Option[])
        [
            Name, App, Limits.Cpus, Memory, Disk, Kernel, Env, EnvFile, Publish, Volume, Remove, Pull, Restart, Entrypoint, User,
            WorkingDirectory, Interactive, Tty,
            StopSignal, StopTimeout, Label, Region, Constraint, WaitForCapacity, .. Limits.Others,
        ])
        {
            command.Options.Add(option);
        }
        command.Arguments.Add(Image);
        command.Arguments.Add(Command);
    }

    public string AppOf(Session session) => session.Get(App) ?? "default";

    public CreateMachineRequest Request(Session session, bool skipLaunch) => new()
    {
        Name = session.Get(Name),
        Region = session.Get(Region),
        SkipLaunch = skipLaunch,
        Config = new MachineConfig
        {
            Image = session.Get(Image),
            Guest = Guest(session),
            Env = VariableOptions.Read(session.Get(EnvFile)!, session.Get(Env)!, session.Around.Variable),
            Init = Init(session),
            Restart = session.Get(Restart),
            AutoDestroy = session.Get(Remove),
            StopConfig = Stop(session),
            Metadata = Labels(session),
            PublishedPorts = session.Get(Publish) is { Length: > 0 } ports ? ports : null,
            Mounts = session.Get(Volume) is { Length: > 0 } mounts ? mounts : null,
            PullPolicy = session.Get(Pull),
            Placement = session.Get(Constraint) is { Length: > 0 } constraints ? new PlacementConfig { Constraints = constraints } : null,
        },
    };

    /// <summary>Makes the volumes that are named and not there yet, as docker does.</summary>
    public async Task EnsureVolumesAsync(Session session)
    {
        if (session.Get(Volume) is not { Length: > 0 } mounts)
            return;
        var app = AppOf(session);
        var there = await session.Api.ListVolumesAsync(session.Cancelled);
        foreach (var name in mounts.Select(mount => mount.Volume!))
        {
            if (!there.Any(volume => volume.App == app && (volume.Name == name || volume.Id.Value == name)))
                await session.Api.CreateVolumeAsync(app, new CreateVolumeRequest { Name = name }, CancellationToken.None);
        }
    }

    private GuestSize? Guest(Session session) =>
        new GuestSize { MemoryMb = session.Get(Memory), DiskMb = session.Get(Disk), Kernel = session.Get(Kernel) } is var size
            && Limits.Apply(session, size) is var guest && guest == new GuestSize()
            ? null
            : guest;

    private InitConfig? Init(Session session)
    {
        var command = session.Get(Command);
        var entrypoint = session.Get(Entrypoint);
        var user = session.Get(User);
        var directory = session.Get(WorkingDirectory);
        var (stdin, tty) = (session.Get(Interactive), session.Get(Tty));
        if (entrypoint is null && command.Length == 0 && user is null && directory is null && !stdin && !tty)
            return null;
        return new InitConfig
        {
            // As Docker: another entrypoint drops the image's command too; "" removes the entrypoint.
            Entrypoint = entrypoint switch { null => null, "" => [], _ => [entrypoint] },
            Cmd = command.Length > 0 ? command : entrypoint is null ? null : [],
            Stdin = stdin ? true : null,
            Tty = tty ? true : null,
            User = user,
            WorkingDir = directory,
        };
    }

    private StopConfig? Stop(Session session) =>
        session.Get(StopSignal) is null && session.Get(StopTimeout) is null
            ? null
            : new StopConfig
            {
                Signal = session.Get(StopSignal),
                Timeout = session.Get(StopTimeout) is { } time ? (int)Math.Ceiling(time.TotalSeconds) : null,
            };

    private Dictionary<string, string>? Labels(Session session)
    {
        var labels = new Dictionary<string, string>();
        foreach (var text in session.Get(Label)!)
        {
            var equals = text.IndexOf('=');
            if (equals == 0 || text.Length == 0)
                throw CliException.Usage("--label", $"'{text}' has no key", "write KEY=VALUE");
            labels[equals < 0 ? text : text[..equals]] = equals < 0 ? "" : text[(equals + 1)..];
        }
        return labels.Count == 0 ? null : labels;
    }
}
