using System.CommandLine;
using System.Formats.Tar;
using Ravel.Cli.Errors;
using Ravel.Cli.Files;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Shell;

namespace Ravel.Cli.Images;

/// <summary><c>ravel image export</c>: an image of the node to a file, a directory or standard output.</summary>
internal static class ImageExport
{
    private const int BufferSize = 1 << 17;

    public static CliCommand Create()
    {
        var reference = new Argument<string>("IMAGE");
        reference.CompletionSources.Add(Completions.Images);
        var output = CliOptions.Text("--output", "FILE|DIR", "Where to write it; - or nothing for standard output", "-o");
        var format = CliOptions.Text("--format", "FORMAT", "oci-archive, docker-archive, or oci for a directory [default: oci-archive]");
        var command = new CliCommand("export", "Export an image to a file")
        {
            Usage = "[OPTIONS] IMAGE",
            Examples =
            [
                "ravel image export app:1 -o app.tar",
                "ravel image export --format docker-archive app:1 | docker load",
                "ravel image export --format oci app:1 -o ./layout",
            ],
            Run = session => RunAsync(session, session.Get(reference), session.Get(output) ?? "-", session.Get(format) ?? "oci-archive"),
        };
        command.Options.Add(output);
        command.Options.Add(format);
        command.Arguments.Add(reference);
        return command;
    }

    private static async Task<int> RunAsync(Session session, string image, string output, string format)
    {
        if (format is not ("oci-archive" or "docker-archive" or "oci"))
            throw CliException.Usage("--format", $"{format} is none of oci-archive, docker-archive, oci");
        if (output == "-" && format == "oci")
            throw CliException.Usage("--format", "oci is a directory", "say where with --output DIR");
        if (output == "-" && session.Terminal.IsTerminal)
            throw CliException.Usage("--output", "an archive is not for a terminal", "give a file, or pipe it somewhere");
        if (format == "oci" && Path.Exists(output) && !(Directory.Exists(output) && !Directory.EnumerateFileSystemEntries(output).Any()))
            throw CliException.Usage(output, "is there already", "give a directory that is empty or new");
        if (output == "-")
        {
            await session.Api.ExportImageAsync(image, format, body => body.CopyToAsync(session.Terminal.Stream, BufferSize, session.Cancelled), session.Cancelled);
            return 0;
        }

        var partial = $"{Path.TrimEndingDirectorySeparator(Path.GetFullPath(output))}.{Path.GetRandomFileName()}.partial";
        try
        {
            using (Spinner.Start(session.Terminal, session.Time, $"exporting {image}"))
            {
                if (format == "oci")
                    await session.Api.ExportImageAsync(image, "oci-archive", body => UnpackAsync(body, partial, session.Cancelled), session.Cancelled);
                else
                    await session.Api.ExportImageAsync(image, format, body => SaveAsync(body, partial, session.Cancelled), session.Cancelled);
            }
            if (format == "oci")
            {
                if (Directory.Exists(output))
                    Directory.Delete(output);
                Directory.Move(partial, output);
            }
            else
            {
                File.Move(partial, output, overwrite: true);
            }
            if (session.Json)
                JsonOutput.Document(session.Terminal, new ExportedImage(image, format, output));
            return 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(output, $"cannot be written: {e.Message.TrimEnd('.')}");
        }
        finally
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
            else
                File.Delete(partial);
        }
    }

    private static async Task SaveAsync(Stream body, string file, CancellationToken cancellationToken)
    {
        await using var target = new FileStream(file, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        await body.CopyToAsync(target, BufferSize, cancellationToken);
    }

    /// <summary>A layout's files, and nothing a server may not put there.</summary>
    internal static async Task UnpackAsync(Stream archive, string directory, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.Combine(directory, "blobs", "sha256"));
        await using var bounded = new BoundedReads(archive);
        await using var tar = new TarReader(bounded, leaveOpen: true);
        while (await GetNextEntryAsync(tar, cancellationToken) is { } entry)
        {
            if (!IsLayoutFile(entry.Name) || entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile))
                throw new CliException(SafeText.Of(entry.Name), "the server's archive has a member that no layout has");
            await using var target = new FileStream(Path.Combine(directory, entry.Name), FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
            if (entry.DataStream is not null)
                await entry.DataStream.CopyToAsync(target, BufferSize, cancellationToken);
        }
    }

    private static async ValueTask<TarEntry?> GetNextEntryAsync(TarReader tar, CancellationToken cancellationToken)
    {
        try
        {
            return await tar.GetNextEntryAsync(cancellationToken: cancellationToken);
        }
        catch (InvalidDataException e)
        {
            throw new CliException("archive", $"the server's archive is damaged: {e.Message.TrimEnd('.')}");
        }
    }

    private static bool IsLayoutFile(string name) =>
        name is "oci-layout" or "index.json"
        || (name.StartsWith("blobs/sha256/", StringComparison.Ordinal) && name.Length == "blobs/sha256/".Length + 64
            && name["blobs/sha256/".Length..].All(char.IsAsciiHexDigitLower));
}
