using System.CommandLine;
using System.Globalization;
using System.Net.Http.Headers;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Shell;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Images;

/// <summary><c>ravel image …</c>.</summary>
internal static class ImageCommands
{
    public static CliCommand Create()
    {
        var group = new CliCommand("image", "Pull, list, import, export, verify and remove images")
        {
            Examples = ["ravel image pull debian:12", "ravel image ls"],
        };
        group.Subcommands.Add(Pull());
        group.Subcommands.Add(List());
        group.Subcommands.Add(ImageUpkeep.Inspect());
        group.Subcommands.Add(Remove());
        group.Subcommands.Add(ImageUpkeep.Prune());
        group.Subcommands.Add(ImageUpkeep.Verify());
        group.Subcommands.Add(Import());
        group.Subcommands.Add(ImageExport.Create());
        return group;
    }

    public static CliCommand Pull()
    {
        var reference = new Argument<string>("IMAGE");
        var quiet = CliOptions.Flag("--quiet", "Print the digest only", "-q");
        var command = new CliCommand("pull", "Pull an image from its registry and build its root file system")
        {
            Usage = "[OPTIONS] IMAGE",
            Examples = ["ravel image pull debian:12", "ravel image pull localhost:5000/app@sha256:…"],
            Run = async session =>
            {
                var name = session.Get(reference);
                if (session.Json)
                    return await StreamJsonAsync(session, session.Api.PullImageAsync(name, "always", session.Cancelled), name);
                var begun = session.Time.GetTimestamp();
                IPullView view = session.Get(quiet) ? new NoPullView() : await PullView.ForAsync(session.Terminal, quietInPipe: false, session.Cancelled);
                var image = await PullProgressReader.ReadAsync(session.Api.PullImageAsync(name, "always", session.Cancelled), name, view);
                session.Terminal.Out.WriteLine(session.Get(quiet) ? image.Digest : Summary(image, session.Time.GetElapsedTime(begun)));
                return 0;
            },
        };
        command.Options.Add(quiet);
        command.Arguments.Add(reference);
        return command;
    }

    private static CliCommand Import()
    {
        var path = new Argument<string>("FILE|DIR|-");
        var name = CliOptions.Text("--name", "REF", "Reference to give it");
        var choice = CliOptions.Text("--image", "REF", "Which image of an archive with several: a name or tag it has, or @N from 0");
        var command = new CliCommand("import", "Import an image from a file or a directory")
        {
            Usage = "[OPTIONS] FILE|DIR|-",
            Examples =
            [
                "ravel image import ./layout --name app:1         # a directory in the OCI layout",
                "ravel image import app.tar.gz --name app:1       # an oci-archive or docker-archive, also compressed",
                "docker save app:1 | ravel image import -         # from standard input",
                "ravel image import docker-archive:all.tar:db:2   # one of several, as skopeo writes it",
            ],
            Run = async session =>
            {
                var (file, which) = ImageArchive.Split(session.Get(path), session.Get(choice));
                using var content = ImageArchive.Open(file);
                content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
                Image image;
                using (Spinner.Start(session.Terminal, session.Time, $"importing {file}"))
                    image = await session.Api.ImportImageAsync(file, which, session.Get(name), content, session.Cancelled);
                if (session.Json)
                    JsonOutput.Document(session.Terminal, image);
                else
                    session.Terminal.Out.WriteLine(image.Digest);
                return 0;
            },
        };
        command.Options.Add(name);
        command.Options.Add(choice);
        command.Arguments.Add(path);
        return command;
    }

    public static CliCommand List()
    {
        var quiet = CliOptions.Flag("--quiet", "Print digests only", "-q");
        var whole = CliOptions.Flag("--no-trunc", "Print whole digests");
        var command = new CliCommand("ls", "List images")
        {
            Usage = "[OPTIONS]",
            Examples = ["ravel image ls", "ravel image ls --json"],
            Run = async session =>
            {
                var list = await session.Api.ListImagesAsync(session.Cancelled);
                var images = list.Images.OrderByDescending(image => image.CreatedAt).ToList();
                if (session.Json)
                    JsonOutput.Document(session.Terminal, new ImageList(images));
                else if (session.Get(quiet))
                    images.ForEach(image => session.Terminal.Out.WriteLine(image.Digest));
                else
                    Render(images, session.Get(whole), session.Time.GetUtcNow()).Write(session.Terminal);
                return 0;
            },
        };
        command.Aliases.Add("list");
        command.Options.Add(quiet);
        command.Options.Add(whole);
        return command;
    }

    public static CliCommand Remove()
    {
        var references = new Argument<string[]>("IMAGE") { Arity = ArgumentArity.OneOrMore };
        references.CompletionSources.Add(Completions.Images);
        var command = new CliCommand("rm", "Remove images that no machine uses")
        {
            Usage = "IMAGE [IMAGE...]",
            Examples = ["ravel image rm debian:12"],
            Run = async session =>
            {
                var removed = new List<string>();
                return await session.ForEachAsync(
                    session.Get(references),
                    async reference => removed.AddRange((await session.Api.RemoveImageAsync(reference, session.Cancelled)).Removed),
                    () =>
                    {
                        if (session.Json)
                            JsonOutput.Document(session.Terminal, new RemovedImages(removed));
                        else
                            removed.ForEach(text => session.Terminal.Out.WriteLine(SafeText.Of(text)));
                    });
            },
        };
        command.Arguments.Add(references);
        return command;
    }

    /// <summary>Digest, size of the root file system, and how long it took.</summary>
    public static string Summary(Image image, TimeSpan took) =>
        string.Create(CultureInfo.InvariantCulture, $"{image.Digest} {Humane.Bytes(image.Size)} in {took.TotalSeconds:0.0} s");

    public static Table Render(IReadOnlyList<Image> images, bool whole, DateTimeOffset now)
    {
        var table = new Table("REFERENCE", "DIGEST", "CREATED", "USED", "MACHINES", "SIZE");
        foreach (var image in images)
        {
            foreach (var reference in image.References.DefaultIfEmpty("<none>"))
            {
                table.Add(
                    ImageName.Familiar(reference),
                    whole ? image.Digest : LayerName.Short(image.Digest),
                    Humane.Ago(image.CreatedAt, now),
                    image.Damaged ? new Cell("damaged", Colour.Bad) : image.LastUsedAt is { } used ? Humane.Ago(used, now) : "",
                    image.Machines.Count.ToString(CultureInfo.InvariantCulture),
                    Humane.Bytes(image.Size));
            }
        }
        return table;
    }

    /// <summary>The lines as the server sends them; a problem becomes the error on standard error, as everywhere.</summary>
    private static async Task<int> StreamJsonAsync(Session session, IAsyncEnumerable<PullProgress> lines, string subject)
    {
        var view = new JsonPullView(session.Terminal);
        var image = await PullProgressReader.ReadAsync(lines, subject, view);
        view.Report(new PullProgress { Image = image });
        return 0;
    }

    private sealed class JsonPullView(Terminal terminal) : IPullView
    {
        public void Report(PullProgress progress)
        {
            JsonOutput.Line(terminal, progress);
            terminal.Flush();
        }

        public void End()
        {
        }
    }
}
