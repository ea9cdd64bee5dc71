using System.CommandLine;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Volumes;

/// <summary><c>ravel volume …</c>.</summary>
internal static class VolumeCommands
{
    private const string DefaultApp = "default";

    public static CliCommand Create()
    {
        var group = new CliCommand("volume", "Create, list, grow, copy and remove volumes")
        {
            Examples = ["ravel volume create data --size 10g", "ravel run -d -v data:/var/lib/data IMAGE"],
        };
        group.Subcommands.Add(Make());
        group.Subcommands.Add(List());
        group.Subcommands.Add(Inspect());
        group.Subcommands.Add(Grow());
        group.Subcommands.Add(Snapshot());
        group.Subcommands.Add(Snapshots());
        group.Subcommands.Add(Remove());
        return group;
    }

    private static CliCommand Make()
    {
        var name = new Argument<string>("NAME");
        var app = CliOptions.Text("--app", "NAME", "App it belongs to, made if absent (default \"default\")");
        var size = Size("Its size (default 1g, or that of what it is made from)");
        var from = CliOptions.Text("--from", "ID", "Begin as a copy of this snapshot or volume");
        var command = new CliCommand("create", "Create a volume")
        {
            Usage = "[OPTIONS] NAME",
            Examples = ["ravel volume create data --size 10g", "ravel volume create again --from vol_0123456789abcdef"],
            Run = async session =>
            {
                var request = new CreateVolumeRequest
                {
                    Name = session.Get(name),
                    SizeMb = session.Get(size),
                    SourceVolumeId = session.Get(from) is { } source ? (await AnyAsync(session, source)).Id.Value : null,
                };
                Print(session, await session.Api.CreateVolumeAsync(session.Get(app) ?? DefaultApp, request, CancellationToken.None));
                return 0;
            },
        };
        command.Options.Add(app);
        command.Options.Add(size);
        command.Options.Add(from);
        command.Arguments.Add(name);
        return command;
    }

    private static CliCommand List()
    {
        var quiet = CliOptions.Flag("--quiet", "Print ids only", "-q");
        var command = new CliCommand("ls", "List volumes")
        {
            Usage = "[OPTIONS]",
            Examples = ["ravel volume ls"],
            Run = async session =>
            {
                Show(session, await session.Api.ListVolumesAsync(session.Cancelled), session.Get(quiet));
                return 0;
            },
        };
        command.Options.Add(quiet);
        return command;
    }

    private static CliCommand Snapshots()
    {
        var name = One();
        var command = new CliCommand("snapshots", "List the snapshots of a volume")
        {
            Usage = "VOLUME",
            Examples = ["ravel volume snapshots data"],
            Run = async session =>
            {
                Show(session, await session.Api.ListSnapshotsAsync(await ResolveAsync(session, session.Get(name)), session.Cancelled), quiet: false);
                return 0;
            },
        };
        command.Arguments.Add(name);
        return command;
    }

    private static CliCommand Inspect()
    {
        var names = Many();
        var command = new CliCommand("inspect", "Show all there is to know of volumes, as JSON")
        {
            Usage = "VOLUME [VOLUME...]",
            Examples = ["ravel volume inspect data | jq '.[0].attached_machine_id'"],
            Run = async session =>
            {
                var shown = new List<Volume>();
                foreach (var text in session.Get(names))
                    shown.Add(await AnyAsync(session, text));
                JsonOutput.Document<IReadOnlyList<Volume>>(session.Terminal, shown);
                return 0;
            },
        };
        command.Arguments.Add(names);
        return command;
    }

    private static CliCommand Grow()
    {
        var name = One();
        var size = Size("Its new size");
        var command = new CliCommand("grow", "Make a volume larger; a machine that has it sees that at its next start")
        {
            Usage = "--size SIZE VOLUME",
            Examples = ["ravel volume grow --size 20g data"],
            Run = async session =>
            {
                if (session.Get(size) is not { } mib)
                    throw CliException.Usage("volume grow", "--size is missing", "e.g. ravel volume grow --size 20g data");
                var grown = await session.Api.ExtendVolumeAsync(await ResolveAsync(session, session.Get(name)), mib, session.Cancelled);
                if (grown.NeedsRestart && !session.Json)
                    session.Terminal.Error.WriteLine($"machine {grown.Volume.AttachedMachineId} sees the new size when it is restarted");
                Print(session, grown.Volume);
                return 0;
            },
        };
        command.Options.Add(size);
        command.Arguments.Add(name);
        return command;
    }

    private static CliCommand Snapshot()
    {
        var name = One();
        var command = new CliCommand("snapshot", "Keep a copy of a volume as it is now")
        {
            Usage = "VOLUME",
            Examples = ["ravel volume snapshot data", "ravel volume create again --from $(ravel volume snapshot data)"],
            Run = async session =>
            {
                Print(session, await session.Api.SnapshotVolumeAsync(await ResolveAsync(session, session.Get(name)), session.Cancelled));
                return 0;
            },
        };
        command.Arguments.Add(name);
        return command;
    }

    private static CliCommand Remove()
    {
        var names = Many();
        var command = new CliCommand("rm", "Remove volumes or snapshots, with what is on them")
        {
            Usage = "VOLUME [VOLUME...]",
            Examples = ["ravel volume rm data"],
            Run = async session =>
            {
                var removed = new List<Volume>();
                return await session.ForEachAsync(
                    session.Get(names),
                    async text =>
                    {
                        var volume = await AnyAsync(session, text);
                        await session.Api.DeleteVolumeAsync(volume, session.Cancelled);
                        removed.Add(volume);
                        if (!session.Json)
                            session.Terminal.Out.WriteLine(text);
                    },
                    () =>
                    {
                        if (session.Json)
                            JsonOutput.Document<IReadOnlyList<Volume>>(session.Terminal, removed);
                    });
            },
        };
        command.Arguments.Add(names);
        return command;
    }

    private static Option<int?> Size(string description) =>
        CliOptions.Parsed<int?>("--size", "SIZE", description, text => Values.Mebibytes(text), "-s");

    private static Argument<string> One() => new("VOLUME") { Description = "Name, id, or unique prefix of an id" };

    private static Argument<string[]> Many() =>
        new("VOLUME") { Description = "Names, ids, or unique prefixes of ids", Arity = ArgumentArity.OneOrMore };

    /// <summary>A volume by name, APP/NAME, id or unique prefix of an id.</summary>
    private static async Task<Volume> ResolveAsync(Session session, string text) =>
        VolumeNames.Resolve(text, await session.Api.ListVolumesAsync(session.Cancelled));

    /// <summary>A volume, or a snapshot of one.</summary>
    private static async Task<Volume> AnyAsync(Session session, string text)
    {
        var volumes = await session.Api.ListVolumesAsync(session.Cancelled);
        if (!text.StartsWith(VolumeNames.Prefix, StringComparison.Ordinal))
            return VolumeNames.Resolve(text, volumes);
        var snapshots = new List<Volume>();
        foreach (var volume in volumes)
            snapshots.AddRange(await session.Api.ListSnapshotsAsync(volume, session.Cancelled));
        return VolumeNames.Resolve(text, volumes, snapshots);
    }

    private static void Print(Session session, Volume volume)
    {
        if (session.Json)
            JsonOutput.Document(session.Terminal, volume);
        else
            session.Terminal.Out.WriteLine(volume.SnapshotOf is null ? volume.Name : volume.Id.Value);
    }

    private static void Show(Session session, IReadOnlyList<Volume> volumes, bool quiet)
    {
        if (session.Json)
        {
            JsonOutput.Document(session.Terminal, volumes);
            return;
        }
        if (quiet)
        {
            foreach (var volume in volumes)
                session.Terminal.Out.WriteLine(volume.Id);
            return;
        }
        var table = new Table("ID", "NAME", "SIZE", "STATE", "MACHINE", "CREATED");
        var single = volumes.Select(volume => volume.App).Distinct().Count() <= 1;
        foreach (var volume in volumes)
        {
            table.Add(
                volume.Id.Value,
                single ? volume.Name : $"{volume.App}/{volume.Name}",
                Humane.Bytes(volume.SizeMb * 1024 * 1024),
                volume.State,
                volume.AttachedMachineId?.Value ?? "",
                Humane.Ago(volume.CreatedAt, session.Time.GetUtcNow()));
        }
        table.Write(session.Terminal);
    }
}
