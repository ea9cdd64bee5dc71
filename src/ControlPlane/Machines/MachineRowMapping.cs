using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.ControlPlane.Events;
using Ravel.ControlPlane.Images;

namespace Ravel.ControlPlane.Machines;

/// <summary>Between the row and the values that are decided on or shown. Pure.</summary>
internal static class MachineRowMapping
{
    /// <summary>What is shown where operators name no regions.</summary>
    private const string NoRegion = "local";

    public static MachineIntent Intent(this MachineRow row) =>
        new(row.Desired, row.Generation, row.Force, row.StartAfterStop, row.StopSignal, row.StopTimeoutSeconds);

    public static MachineSighting Sighting(this MachineRow row) =>
        new(row.ObservedState, row.AcceptedGeneration, row.RefusedGeneration, row.ObservedGeneration, row.StartedGeneration);

    public static string SeenState(this MachineRow row) => MachineLifecycle.SeenState(row.Intent(), row.Sighting());

    public static void Take(this MachineRow row, MachineIntent intent, DateTimeOffset now)
    {
        if (intent == row.Intent())
            return;
        if (intent.Generation != row.Generation)
        {
            // A reservation is for the generation it was made for, and a problem belongs to what was asked for before.
            row.ReservationId = null;
            if (intent.Desired != DesiredState.Destroyed)
                (row.ProblemCode, row.ProblemMessage) = (null, null);
        }
        row.Desired = intent.Desired;
        row.Generation = intent.Generation;
        row.Force = intent.Force;
        row.StartAfterStop = intent.StartAfterStop;
        row.StopSignal = intent.StopSignal;
        row.StopTimeoutSeconds = intent.StopTimeoutSeconds;
        row.UpdatedAt = now;
    }

    public static MachineConfig ReadConfig(this MachineRow row) =>
        JsonSerializer.Deserialize(row.Config, ApiJson.Default.MachineConfig)
        ?? throw new InvalidDataException($"The configuration of machine {row.Id} in the database is null.");

    /// <summary>Members that Ravel does not act on are dropped here; the API refused those that matter.</summary>
    public static string WriteConfig(MachineConfig config) =>
        JsonSerializer.Serialize(config with { Unsupported = null }, ApiJson.Default.MachineConfig);

    public static Machine Shown(this MachineRow row, string app, IEnumerable<MachineEventRow>? events = null)
    {
        var config = row.ReadConfig();
        var image = ImageReference.TryParse(config.Image, out var parsed) ? parsed : null;
        return new Machine
        {
            Id = MachineId.Parse(row.Id),
            Name = row.Name,
            State = row.SeenState(),
            App = app,
            NodeId = row.NodeId,
            Region = row.Region.Length > 0 ? row.Region : NoRegion,
            ImageRef = image is null || row.ImageDigest is null ? image : image with { Digest = row.ImageDigest },
            InstanceId = row.InstanceId,
            PrivateIp = row.PrivateIp,
            NodeIpv4 = row.NodeIpv4,
            CreatedAt = row.CreatedAt,
            UpdatedAt = row.UpdatedAt,
            Config = config,
            StartedAt = row.StartedAt,
            Command = row.Command is null ? null : JsonSerializer.Deserialize(row.Command, ApiJson.Default.IReadOnlyListString),
            Events = events?.Select(Shown).ToList() ?? [],
            Generation = row.Generation,
            Exit = ReadExit(row.Exit),
            Problem = ReadProblem(row.ProblemCode, row.ProblemMessage),
        };
    }

    public static MachineEvent Shown(this MachineEventRow row) => new()
    {
        Id = row.Sequence.ToString(System.Globalization.CultureInfo.InvariantCulture),
        MachineId = MachineId.Parse(row.MachineId),
        Type = row.Type,
        Status = row.Status,
        Source = row.Source,
        Timestamp = row.At.ToUnixTimeMilliseconds(),
        InstanceId = row.InstanceId,
        Exit = ReadExit(row.Exit),
        Problem = ReadProblem(row.ProblemCode, row.ProblemMessage),
    };

    private static MachineExit? ReadExit(string? json) =>
        json is null ? null : JsonSerializer.Deserialize(json, ApiJson.Default.MachineExit);

    private static MachineProblem? ReadProblem(string? code, string? message) =>
        code is null ? null : new MachineProblem(code, message ?? "");
}
