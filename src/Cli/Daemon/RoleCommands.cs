using System.CommandLine;
using System.Runtime.InteropServices;
using Ravel.Cli.Errors;
using Ravel.Cli.Parsing;
using Ravel.Cli.Processes;

namespace Ravel.Cli.Daemon;

/// <summary>
/// <c>ravel server</c> and <c>ravel agent</c>: <c>raveld</c> of that role in the foreground, with its words and its exit code. What a service
/// manager runs is <c>raveld</c> itself.
/// </summary>
internal static class RoleCommands
{
    public static CliCommand Server() => Create(
        new CliCommand("server", "Serve the API of a cluster on this host, and take nodes")
        {
            Usage = "[OPTIONS]",
            Examples =
            [
                "ravel server --database postgres://ravel@10.0.0.1/ravel --listen 10.0.0.1:7717",
                "ravel server --advertise https://10.0.0.1:7718      # where nodes join",
                "ravel --data /var/lib/ravel node join-token         # the command for another host",
            ],
        },
        [
            CliOptions.Text("--database", "ADDRESS", "postgres://USER:PASSWORD@HOST/DATABASE (default a SQLite file) [env: RAVEL_DATABASE]"),
            CliOptions.Text("--listen", "ADDRESS:PORT", "Where the API listens (default 127.0.0.1:7717)"),
            CliOptions.Text("--hub-listen", "ADDRESS:PORT", "Where nodes call (default 0.0.0.0:7718)"),
            CliOptions.Text("--advertise", "URL", "Where nodes reach that (default this host's address)"),
            CliOptions.Text("--cluster-key", "FILE", "A secret that seals the cluster's authority in the database"),
        ]);

    public static CliCommand Agent() => Create(
        new CliCommand("agent", "Run machines on this host as a node of a cluster")
        {
            Usage = "[OPTIONS]",
            Examples =
            [
                "ravel agent --join https://10.0.0.1:7718 --token rvj_…   # as ravel node join-token prints it",
                "ravel agent                                             # once it has joined",
                "ravel agent --zone b --label disk=ssd --label gpu=yes",
            ],
        },
        [
            // --token is every command's; here it is the join token.
            GlobalOptions.Token,
            CliOptions.Text("--join", "URL", "A server's hub, for a host that has not joined; --token is the join token then"),
            CliOptions.Text("--listen", "ADDRESS:PORT", "Where servers call (default 0.0.0.0:7719)"),
            CliOptions.Text("--advertise", "URL", "Where servers reach that (default this host's address)"),
            CliOptions.Text("--region", "NAME", "Where this host is"),
            CliOptions.Text("--zone", "NAME", "Where this host is, more exactly"),
            CliOptions.Texts("--label", "NAME=VALUE", "What machines may ask for with --constraint"),
            CliOptions.OneOf("--vmm", "Hypervisor (default qemu) [env: RAVEL_VMM]", "qemu", "firecracker", "fake"),
            CliOptions.Text("--kernel", "DIR|NAME", "The host's guest kernel [env: RAVEL_KERNEL]"),
            CliOptions.Text("--image-limit", "SIZE", "Of all images together (default half of the disk) [env: RAVEL_IMAGE_LIMIT]"),
            CliOptions.Text("--disk-reserve", "SIZE", "Of the disk, for neither machines nor images [env: RAVEL_DISK_RESERVE]"),
            CliOptions.Text("--disk-overcommit", "N", "Promise N times the disk there is (default 1) [env: RAVEL_DISK_OVERCOMMIT]"),
            CliOptions.Text("--cpu-overcommit", "N", "CPUs of machines per CPU of the host (default 8) [env: RAVEL_CPU_OVERCOMMIT]"),
            CliOptions.Text("--registries", "FILE", "Mirrors, authorities and credentials of registries [env: RAVEL_REGISTRIES]"),
            CliOptions.OneOf("--warm-start", "Begin machines as copies of a booted guest (default on) [env: RAVEL_WARM_START]", "on", "off"),
        ]);

    private static CliCommand Create(CliCommand command, IReadOnlyList<Option> options)
    {
        options = [.. options, CliOptions.Text("--config", "FILE", "Settings (default /etc/ravel/ravel.toml, if there) [env: RAVEL_CONFIG]")];
        foreach (var option in options.Where(option => !option.Recursive))
            command.Options.Add(option);
        command.Run = session => RunAsync(session, command.Name, [.. Given(session, GlobalOptions.Data), .. options.SelectMany(option => Given(session, option))]);
        return command;
    }

    private static IEnumerable<string> Given(Session session, Option option) => option switch
    {
        Option<string[]> several => (session.Get(several) ?? []).SelectMany(value => (string[])[option.Name, value]),
        Option<string?> one when session.Get(one) is { } value => [option.Name, value],
        _ => [],
    };

    private static async Task<int> RunAsync(Session session, string role, IReadOnlyList<string> arguments)
    {
        var binary = DaemonBinary.Find(session.Around);
        using var daemon = Programs.Start(binary, [role, .. arguments], captureOutput: false)
            ?? throw new CliException(role, $"{binary} cannot be executed", "install raveld next to ravel, or set RAVELD");
        session.Interrupts.Take((signal, _) => Pass(daemon.Id, signal));
        // As when the terminal is closed: the daemon hears of that by itself, and ends.
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context =>
        {
            context.Cancel = true;
            Pass(daemon.Id, PosixSignal.SIGTERM);
        });
        await daemon.WaitForExitAsync(CancellationToken.None);
        return daemon.ExitCode;
    }

    /// <summary>Ctrl-C of a terminal reaches the daemon too; hearing it twice does not matter.</summary>
    private static void Pass(int pid, PosixSignal signal) =>
        Programs.Start("/bin/sh", ["-c", $"kill -{(signal == PosixSignal.SIGINT ? "INT" : "TERM")} {pid}"], captureOutput: false, quiet: true)?.Dispose();
}
