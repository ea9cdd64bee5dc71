using System.CommandLine;
using Ravel.Cli.Errors;
using Ravel.Cli.Machines;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;

namespace Ravel.Cli.Files;

/// <summary><c>ravel cp</c>.</summary>
internal static class CopyCommand
{
    private const string Stdio = "-";

    public static CliCommand Create()
    {
        var source = new Argument<string>("SOURCE") { Description = "A path here, MACHINE:PATH, or - for a tar archive from standard input" };
        var destination = new Argument<string>("DESTINATION") { Description = "A path here, MACHINE:PATH, or - for a tar archive to standard output" };
        var archive = CliOptions.Flag("--archive", "Keep the owners of files copied to a machine (they become root's otherwise)", "-a");
        var follow = CliOptions.Flag("--follow-link", "Copy what a symbolic link at SOURCE leads to", "-L");
        var command = new CliCommand("cp", "Copy files and directories between here and a running machine")
        {
            Usage = "[OPTIONS] SOURCE MACHINE:PATH | MACHINE:PATH DESTINATION",
            Examples =
            [
                "ravel cp site web:/srv            # becomes /srv/site if /srv is there, else /srv",
                "ravel cp site/. web:/srv          # what is in it",
                "ravel cp web:/var/log/app.log .",
                "ravel cp web:/etc - | tar t       # an archive, either way",
            ],
            Run = async session =>
            {
                var (from, to) = (Place.Parse(session.Get(source)), Place.Parse(session.Get(destination)));
                switch (from.Machine, to.Machine)
                {
                    case (null, { } name):
                        await CopyInAsync(session, from.Path, name, to.Path, session.Get(archive), session.Get(follow));
                        Say(session, new CopiedFiles(name, from.Path, to.Path, []));
                        return 0;
                    case ({ } name, null):
                        var skipped = await CopyOutAsync(session, name, from.Path, to.Path);
                        // Standard output is the archive's.
                        if (to.Path != Stdio)
                            Say(session, new CopiedFiles(name, from.Path, to.Path, skipped));
                        return 0;
                    case (null, null):
                        throw CliException.Usage("cp", "neither side is a machine", "write MACHINE:PATH for one of them");
                    default:
                        throw CliException.Usage("cp", "files do not go from machine to machine", "e.g.: ravel cp A:/x - | ravel cp - B:/");
                }
            },
        };
        foreach (var option in new Option[] { archive, follow })
            command.Options.Add(option);
        command.Arguments.Add(source);
        command.Arguments.Add(destination);
        return command;
    }

    private static async Task CopyInAsync(Session session, string path, string name, string target, bool keepOwners, bool follow)
    {
        if (path == Stdio)
        {
            var into = await session.ResolveAsync(name);
            await session.Api.WriteArchiveAsync(
                into,
                target,
                null,
                static async (to, cancellation) =>
                {
                    await using var input = Console.OpenStandardInput();
                    await input.CopyToAsync(to, cancellation);
                },
                session.Cancelled);
            return;
        }
        // Before anything is asked of the server.
        var source = LocalSource.Open(path, follow);
        var machine = await session.ResolveAsync(name);
        await session.Api.WriteArchiveAsync(
            machine, target, source.Top, (to, cancellation) => source.WriteAsync(to, keepOwners, cancellation), session.Cancelled);
    }

    /// <summary>As cp, it has nothing to say but to whoever asks.</summary>
    private static void Say(Session session, CopiedFiles copied)
    {
        if (session.Json)
            JsonOutput.Document(session.Terminal, copied);
    }

    /// <summary>Returns what was not made here, and why.</summary>
    private static async Task<IReadOnlyList<string>> CopyOutAsync(Session session, string name, string path, string target)
    {
        var machine = await session.ResolveAsync(name);
        await using var content = await session.Api.ReadArchiveAsync(machine, path, session.Cancelled);
        if (target == Stdio)
        {
            if (session.Terminal.IsTerminal)
                throw CliException.Usage("cp", "an archive is nothing for a terminal", "redirect standard output");
            await content.CopyToAsync(session.Terminal.Stream, 128 * 1024, session.Cancelled);
            return [];
        }
        var skipped = await new LocalTarget(target, path).UnpackAsync(content, session.Cancelled);
        foreach (var what in skipped)
            session.Terminal.Error.WriteLine($"ravel: {machine.Name}: {SafeText.Of(what)}");
        return skipped;
    }

    /// <summary>One side of a copy. A path that begins with <c>/</c> or <c>.</c> is here, whatever colons it has.</summary>
    internal sealed record Place(string? Machine, string Path)
    {
        public static Place Parse(string text)
        {
            if (text.Length == 0)
                throw CliException.Usage("cp", "a path is empty", "see: ravel cp --help");
            var colon = text.IndexOf(':');
            // APP/NAME has a slash; a path with one in front of the colon begins with / or . or is written so.
            if (colon <= 0 || text[0] is '/' or '.' || text[..colon].Count(c => c == '/') > 1)
                return new Place(null, text);
            if (colon == text.Length - 1)
                throw CliException.Usage("cp", $"{text} names no path", "write MACHINE:PATH");
            return new Place(text[..colon], text[(colon + 1)..]);
        }
    }
}
