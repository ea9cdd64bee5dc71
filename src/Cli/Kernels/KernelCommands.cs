using System.CommandLine;
using System.Net.Http.Headers;
using Ravel.Cli.Errors;
using Ravel.Cli.Images;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Shell;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Kernels;

/// <summary><c>ravel kernel …</c>.</summary>
internal static class KernelCommands
{
    public static CliCommand Create()
    {
        var group = new CliCommand("kernel", "List, add, build and remove kernels for machines")
        {
            Examples = ["ravel kernel ls", "ravel kernel build", "ravel run --kernel small debian:12 uname -r"],
        };
        group.Subcommands.Add(List());
        group.Subcommands.Add(Add());
        group.Subcommands.Add(Build());
        group.Subcommands.Add(Remove());
        group.Subcommands.Add(Default());
        return group;
    }

    private static CliCommand List()
    {
        var quiet = CliOptions.Flag("--quiet", "Print digests only", "-q");
        var whole = CliOptions.Flag("--no-trunc", "Print whole digests");
        var command = new CliCommand("ls", "List kernels; the star marks the default")
        {
            Usage = "[OPTIONS]",
            Examples = ["ravel kernel ls", "ravel kernel ls --json"],
            Run = async session =>
            {
                var list = await session.Api.ListKernelsAsync(session.Cancelled);
                if (session.Json)
                    JsonOutput.Document(session.Terminal, list);
                else if (session.Get(quiet))
                    list.Kernels.ToList().ForEach(kernel => session.Terminal.Out.WriteLine(kernel.Digest));
                else
                    Render(list.Kernels, session.Get(whole), session.Time.GetUtcNow()).Write(session.Terminal);
                return 0;
            },
        };
        command.Aliases.Add("list");
        command.Options.Add(quiet);
        command.Options.Add(whole);
        return command;
    }

    private static CliCommand Add()
    {
        var path = new Argument<string>("FILE|DIR");
        var name = CliOptions.Text("--name", "NAME", "Name to give it (default its release)");
        var command = new CliCommand("add", "Add a kernel: a bzImage or ELF file, or a directory with vmlinuz and modules/")
        {
            Usage = "[OPTIONS] FILE|DIR",
            Examples =
            [
                "ravel kernel add ./vmlinux --name mine           # everything built in",
                "ravel kernel add ./6.1.0-56-cloud-amd64          # vmlinuz and modules/*.ko",
            ],
            Run = async session =>
            {
                var file = session.Get(path);
                using var content = KernelArchive.Open(file);
                content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
                Kernel kernel;
                using (Spinner.Start(session.Terminal, session.Time, $"adding {file}"))
                    kernel = await session.Api.AddKernelAsync(file, session.Get(name), content, session.Cancelled);
                Print(session, kernel);
                return 0;
            },
        };
        command.Options.Add(name);
        command.Arguments.Add(path);
        return command;
    }

    private static CliCommand Build() => new("build", "Build a small kernel from the distribution's source, unless it is there")
    {
        Usage = "[--json]",
        Examples = ["ravel kernel build && ravel kernel default small"],
        Run = async session =>
        {
            IKernelBuildView view = session.Json ? new JsonBuildView(session.Terminal) : KernelBuildView.For(session.Terminal);
            try
            {
                await foreach (var line in session.Api.BuildKernelAsync(session.Cancelled))
                {
                    if (line.Problem is { } problem)
                        throw new ProblemException("kernel build", problem);
                    view.Report(line);
                    if (line.Kernel is not { } kernel)
                        continue;
                    view.End();
                    if (!session.Json)
                        Print(session, kernel);
                    return 0;
                }
            }
            finally
            {
                view.End();
            }
            throw new CliException("kernel build", "the server broke off before the kernel was there", "run it again: it goes on where it was");
        },
    };

    private static CliCommand Remove()
    {
        var references = new Argument<string[]>("KERNEL") { Arity = ArgumentArity.OneOrMore };
        references.CompletionSources.Add(Completions.Kernels);
        var command = new CliCommand("rm", "Remove kernels that no machine uses")
        {
            Usage = "KERNEL [KERNEL...]",
            Examples = ["ravel kernel rm mine"],
            Run = async session =>
            {
                var removed = new List<Kernel>();
                return await session.ForEachAsync(
                    session.Get(references),
                    async reference => removed.Add(await session.Api.RemoveKernelAsync(reference, session.Cancelled)),
                    () =>
                    {
                        if (session.Json)
                            JsonOutput.Document(session.Terminal, new KernelList(removed));
                        else
                            removed.ForEach(kernel => session.Terminal.Out.WriteLine(SafeText.Of(kernel.Name)));
                    });
            },
        };
        command.Arguments.Add(references);
        return command;
    }

    private static CliCommand Default()
    {
        var reference = new Argument<string>("KERNEL");
        reference.CompletionSources.Add(Completions.Kernels);
        var command = new CliCommand("default", "Choose what machines boot that name no kernel")
        {
            Usage = "KERNEL",
            Examples = ["ravel kernel default small", "ravel kernel default stock             # the host's own again"],
            Run = async session =>
            {
                Print(session, await session.Api.SetDefaultKernelAsync(session.Get(reference), session.Cancelled));
                return 0;
            },
        };
        command.Arguments.Add(reference);
        return command;
    }

    internal static Table Render(IReadOnlyList<Kernel> kernels, bool whole, DateTimeOffset now)
    {
        var table = new Table("NAME", "RELEASE", "DIGEST", "FORMAT", "MODULES", "SIZE", "ORIGIN", "MACHINES", "CREATED");
        foreach (var kernel in kernels)
        {
            table.Add(
                kernel.Default ? kernel.Name + " *" : kernel.Name,
                kernel.Release,
                whole ? kernel.Digest : LayerName.Short(kernel.Digest),
                kernel.Format,
                kernel.Modules.ToString(System.Globalization.CultureInfo.InvariantCulture),
                Humane.Bytes(kernel.Size),
                kernel.Origin,
                kernel.Machines.ToString(System.Globalization.CultureInfo.InvariantCulture),
                Humane.Ago(kernel.CreatedAt, now));
        }
        return table;
    }

    private static void Print(Session session, Kernel kernel)
    {
        if (session.Json)
            JsonOutput.Document(session.Terminal, kernel);
        else
            session.Terminal.Out.WriteLine(SafeText.Of($"{kernel.Name} {kernel.Digest}"));
    }

    private sealed class JsonBuildView(Terminal terminal) : IKernelBuildView
    {
        public void Report(KernelProgress progress)
        {
            JsonOutput.Line(terminal, progress);
            terminal.Flush();
        }

        public void End()
        {
        }
    }
}
