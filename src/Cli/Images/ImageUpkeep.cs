using System.CommandLine;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Shell;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Images;

/// <summary><c>image inspect</c>, <c>image prune</c> and <c>image verify</c>.</summary>
internal static class ImageUpkeep
{
    public static CliCommand Inspect()
    {
        var references = new Argument<string[]>("IMAGE") { Arity = ArgumentArity.OneOrMore };
        references.CompletionSources.Add(Completions.Images);
        var command = new CliCommand("inspect", "Show all there is to know of images, as JSON")
        {
            Usage = "IMAGE [IMAGE...]",
            Examples = ["ravel image inspect debian:12", "ravel image inspect debian:12 | jq '.[0].config.env'"],
            Run = async session =>
            {
                var images = new List<ImageDetails>();
                foreach (var reference in session.Get(references))
                    images.Add(await session.Api.InspectImageAsync(reference, session.Cancelled));
                JsonOutput.Document<IReadOnlyList<ImageDetails>>(session.Terminal, images);
                return 0;
            },
        };
        command.Arguments.Add(references);
        return command;
    }

    public static CliCommand Prune()
    {
        var all = CliOptions.Flag("--all", "Also images that have a name", "-a");
        var dryRun = CliOptions.Flag("--dry-run", "Only say what would go");
        var command = new CliCommand("prune", "Remove images that no machine uses: those without a name, or all")
        {
            Usage = "[OPTIONS]",
            Examples =
            [
                "ravel image prune                   # what a newer pull took the name from",
                "ravel image prune --all --dry-run   # see what --all would remove",
            ],
            Run = async session =>
            {
                var isDryRun = session.Get(dryRun);
                var pruned = await session.Api.PruneImagesAsync(session.Get(all), isDryRun, session.Cancelled);
                if (session.Json)
                {
                    JsonOutput.Document(session.Terminal, pruned);
                    return 0;
                }
                foreach (var image in pruned.Removed)
                {
                    foreach (var reference in image.References)
                        session.Terminal.Out.WriteLine(SafeText.Of(ImageName.Familiar(reference)));
                    session.Terminal.Out.WriteLine(SafeText.Of(image.Digest));
                }
                session.Terminal.Out.WriteLine($"{(isDryRun ? "Would free" : "Freed")} {Humane.Bytes(pruned.FreedBytes)}");
                return 0;
            },
        };
        command.Options.Add(all);
        command.Options.Add(dryRun);
        return command;
    }

    public static CliCommand Verify()
    {
        var references = new Argument<string[]>("IMAGE") { Arity = ArgumentArity.ZeroOrMore };
        references.CompletionSources.Add(Completions.Images);
        var command = new CliCommand("verify", "Read images again and compare them with what was built")
        {
            Usage = "[IMAGE...]",
            Examples = ["ravel image verify                # all of them", "ravel image verify debian:12"],
            Run = async session =>
            {
                var damaged = new List<Image>();
                foreach (var reference in session.Get(references).DefaultIfEmpty(null))
                    damaged.AddRange(await VerifyAsync(session, reference));
                if (damaged.Count == 0)
                    return 0;
                var subject = string.Join(", ", damaged.Select(NameOf).Distinct());
                throw new CliException(SafeText.Of(subject), "damaged", damaged.All(image => image.Imported)
                    ? "import it again: ravel image import"
                    : "the next start pulls it again, or do it now: ravel image pull");
            },
        };
        command.Arguments.Add(references);
        return command;
    }

    /// <returns>Those that are damaged.</returns>
    private static async Task<List<Image>> VerifyAsync(Session session, string? reference)
    {
        var damaged = new List<Image>();
        await foreach (var line in session.Api.VerifyImagesAsync(reference, session.Cancelled))
        {
            if (line.Problem is { } problem)
                throw new ProblemException(reference ?? "images", problem);
            if (line.Image is not { } image)
                continue;
            if (line.Damage is not null)
                damaged.Add(image);
            if (session.Json)
                JsonOutput.Line(session.Terminal, line);
            else
                session.Terminal.Out.WriteLine(SafeText.Of($"{NameOf(image)} {line.Damage ?? "ok"}"));
            session.Terminal.Flush();
        }
        return damaged;
    }

    private static string NameOf(Image image) => image.References.Count > 0 ? ImageName.Familiar(image.References[0]) : image.Digest;
}
