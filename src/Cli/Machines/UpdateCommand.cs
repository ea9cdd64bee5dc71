using System.CommandLine;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Shell;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary><c>ravel update</c>: what is given changes, the rest of the configuration stays.</summary>
internal static class UpdateCommand
{
    public static CliCommand Create()
    {
        var name = MachineArguments.One();
        var image = CliOptions.Text("--image", "IMAGE", "Another image");
        image.CompletionSources.Add(Completions.Images);
        var limits = new LimitOptions("Virtual CPUs; 0.5 = one, of which it gets half the time");
        var memory = CliOptions.Parsed<int?>("--memory", "SIZE", "Memory: 512 (MiB), 512m, 1g", text => Values.Mebibytes(text), "-m");
        var env = CliOptions.Texts("--env", "KEY[=VALUE]", "Set a variable, or pass on your own", "-e");
        var drop = CliOptions.Texts("--env-rm", "KEY", "Remove a variable");
        var publish = CliOptions.ParsedMany("--publish", "[IP:]HOST:GUEST[/udp]", "Publish these ports instead of those it had", Values.Port, "-p");
        var restart = CliOptions.Parsed<RestartConfig?>("--restart", "POLICY", "no, on-failure[:N] or always", Values.Restart);
        Option[] options = [image, limits.Cpus, memory, env, drop, publish, restart, .. limits.Others];
        var command = new CliCommand("update", "Change a machine's configuration; one that runs starts again with it, unless only limits change")
        {
            Usage = "[OPTIONS] MACHINE",
            Examples = ["ravel update --memory 1g web", "ravel update --image nginx:2 -e LEVEL=info --env-rm DEBUG web", "ravel update --cpus 0.5 --disk-bps 20m --net-bps 10m web"],
            Run = async session =>
            {
                if (options.All(option => session.Arguments.GetResult(option) is null or { Implicit: true }))
                    throw CliException.Usage("update", "nothing is to be changed", "see: ravel update --help");
                // A list may leave out what a single machine shows.
                var machine = await session.Api.GetMachineAsync(await session.ResolveAsync(session.Get(name)), session.Cancelled);
                var config = machine.Config;
                var variables = new Dictionary<string, string>(config.Env ?? new Dictionary<string, string>());
                foreach (var key in session.Get(drop)!)
                    variables.Remove(key);
                foreach (var (key, value) in VariableOptions.Read([], session.Get(env)!, session.Around.Variable) ?? [])
                    variables[key] = value;
                var updated = await session.Api.UpdateMachineAsync(
                    machine,
                    config with
                    {
                        Image = session.Get(image) ?? config.Image,
                        Guest = limits.Apply(session, (config.Guest ?? new GuestSize()) with
                        {
                            MemoryMb = session.Get(memory) ?? config.Guest?.MemoryMb,
                        }),
                        Env = variables.Count == 0 ? null : variables,
                        PublishedPorts = session.Get(publish) is { Length: > 0 } ports ? ports : config.PublishedPorts,
                        Restart = session.Get(restart) ?? config.Restart,
                    },
                    CancellationToken.None);
                if (machine.State is MachineStates.Started or MachineStates.Starting)
                    updated = await MachineWaits.UntilStartedAsync(session, updated);
                if (session.Json)
                    JsonOutput.Document(session.Terminal, updated);
                else
                    session.Terminal.Out.WriteLine(session.Get(name));
                return 0;
            },
        };
        foreach (var option in options)
            command.Options.Add(option);
        command.Arguments.Add(name);
        return command;
    }
}
