using Ravel.Daemon;
using Ravel.Daemon.Doctor;
using Ravel.Images;

// raveld: the daemon's composition root. Each command is one file; a role is wired in its own.
return args switch
{
    ["run", .. var rest] => await RunCommand.RunAsync(rest),
    ["server", .. var rest] => await ServerCommand.RunAsync(rest),
    ["agent", .. var rest] => await AgentCommand.RunAsync(rest),
    ["doctor", .. var rest] => await DoctorCommand.RunAsync(rest),
    ["admin", .. var rest] => await Interruptible(token => AdminCommand.RunAsync(rest, Console.Error, token)),
    ["rootfs", "build", .. var rest] => await Interruptible(token => RootfsBuildCommand.RunAsync(rest, Console.Out, Console.Error, token)),
    ["version"] or ["--version"] => Print(DaemonVersion.Text),
    [] or ["help"] or ["--help"] or ["-h"] => Print(Usage.Text),
    _ => Refuse($"raveld: '{string.Join(' ', args.Take(2))}' is not a command; see raveld --help"),
};

static int Print(string text)
{
    Console.Out.WriteLine(text);
    return 0;
}

static int Refuse(string text)
{
    Console.Error.WriteLine(text);
    return Usage.ExitCode;
}

static async Task<int> Interruptible(Func<CancellationToken, Task<int>> command)
{
    using var interrupt = new CancellationTokenSource();
    Console.CancelKeyPress += (_, e) =>
    {
        e.Cancel = true;
        interrupt.Cancel();
    };
    return await command(interrupt.Token);
}
