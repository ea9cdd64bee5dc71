using Ravel.Cli.Daemon;
using Ravel.Cli.Files;
using Ravel.Cli.Images;
using Ravel.Cli.Kernels;
using Ravel.Cli.Machines;
using Ravel.Cli.Namespaces;
using Ravel.Cli.Nodes;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Shell;
using Ravel.Cli.Volumes;

namespace Ravel.Cli;

/// <summary>The table of contents: every command of <c>ravel</c>, in the order of its help.</summary>
internal static class RootCommands
{
    public static CliCommand Create()
    {
        var root = new CliCommand("ravel", "Run OCI images as microVMs")
        {
            Examples =
            [
                "ravel up --detach",
                "ravel run --rm debian:12 echo hello",
                "ravel run -d --name web -p 8080:80 nginx",
                "ravel logs -f web",
            ],
        };
        foreach (var option in GlobalOptions.All)
            root.Options.Add(option);

        CliCommand[] commands =
        [
            UpCommand.Create(),
            DownCommand.Create(),
            RoleCommands.Server(),
            RoleCommands.Agent(),
            DoctorCommand.Create(),
            InfoCommand.Create(),
            RunCommand.Create(),
            RunCommand.CreateOnly(),
            PsCommand.Create(),
            TopCommand.Create(),
            InspectionCommands.Logs(),
            ExecCommand.Create(),
            RunCommand.Attach(),
            CopyCommand.Create(),
            LifecycleCommands.Stop(),
            LifecycleCommands.Start(),
            LifecycleCommands.Restart(),
            UpdateCommand.Create(),
            LifecycleCommands.Suspend(),
            LifecycleCommands.Resume(),
            LifecycleCommands.Kill(),
            LifecycleCommands.Remove(),
            LifecycleCommands.Wait(),
            InspectionCommands.Inspect(),
            InspectionCommands.Events(),
            VolumeCommands.Create(),
            ImageCommands.Create(),
            KernelCommands.Create(),
            NodeCommands.Create(),
            AdminCommands.Create(),
            NamespaceCommands.Create(),
            TokenCommands.Create(),
            CompletionCommands.Script(),
            CompletionCommands.HookCommand(),
            Version(),
        ];
        foreach (var command in commands)
            root.Subcommands.Add(command);

        // Docker's own short cuts, for fingers that know them.
        root.Subcommands.Add(Hidden("pull", ImageCommands.Pull()));
        root.Subcommands.Add(Hidden("images", ImageCommands.List()));
        root.Subcommands.Add(Hidden("rmi", ImageCommands.Remove()));
        return root;
    }

    private static CliCommand Hidden(string name, CliCommand command)
    {
        command.Hidden = true;
        if (command.Name == name)
            return command;
        var renamed = new CliCommand(name, command.Description ?? "") { Hidden = true, Usage = command.Usage, Examples = command.Examples, Run = command.Run };
        foreach (var option in command.Options)
            renamed.Options.Add(option);
        foreach (var argument in command.Arguments)
            renamed.Arguments.Add(argument);
        return renamed;
    }

    private static CliCommand Version() => new("version", "Show the version of ravel")
    {
        Usage = "[--json]",
        Examples = ["ravel version"],
        Run = session =>
        {
            if (session.Json)
                JsonOutput.Document(session.Terminal, VersionInfo.OfThis);
            else
                session.Terminal.Out.WriteLine($"ravel {VersionInfo.OfThis.Version}");
            return Task.FromResult(0);
        },
    };
}
