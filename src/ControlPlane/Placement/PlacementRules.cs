using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Placement;

/// <summary>What a tenant may say of where a machine shall run. Each refusal names the field as the caller wrote it.</summary>
internal static class PlacementRules
{
    private const int MaxEach = 16;
    private const int MaxName = 63;

    /// <summary>Longest time a caller may have the server look for room.</summary>
    public const int MaxWaitSeconds = 3600;

    /// <summary>The configuration with the request's region in it.</summary>
    /// <exception cref="ProblemException">Both say something.</exception>
    public static MachineConfig WithRegion(MachineConfig config, string? region)
    {
        if (string.IsNullOrEmpty(region))
            return config;
        if (config.Placement?.Regions is { Count: > 0 } regions && !(regions is [var only] && only == region))
            throw ProblemException.Invalid("region and config.placement.regions can't both be given.");
        return config with { Placement = (config.Placement ?? new PlacementConfig()) with { Regions = [region] } };
    }

    /// <exception cref="ProblemException">The first rule that is broken.</exception>
    public static void Check(PlacementConfig? placement)
    {
        if (placement is null)
            return;
        CheckNames("regions", placement.Regions);
        CheckNames("features", placement.Features);
        if (placement.Architecture is { } architecture && !IsName(architecture))
            throw Broken("architecture", "must be one as in OCI, such as amd64");
        if (placement.Strategy is not (null or "spread" or "pack"))
            throw Broken("strategy", "must be spread or pack");
        if (placement.Constraints is not { } constraints)
            return;
        if (constraints.Count > MaxEach)
            throw Broken("constraints", $"has more than {MaxEach} elements");
        for (var i = 0; i < constraints.Count; i++)
        {
            if (constraints[i] is null)
                throw Broken($"constraints[{i}]", "must be text");
            if (LabelConstraint.TryParse(constraints[i], out var problem) is null)
                throw Broken($"constraints[{i}]", $"is wrong: {problem}");
        }
    }

    /// <summary>One that was checked.</summary>
    public static LabelConstraint Parse(string text) =>
        LabelConstraint.TryParse(text, out var problem) ?? throw new InvalidDataException($"The constraint '{text}' in the database is wrong: {problem}.");

    /// <summary>Of <c>?wait_for_capacity=SECONDS</c>; absent, nothing is waited for.</summary>
    /// <exception cref="ProblemException">It is out of range.</exception>
    public static TimeSpan Patience(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return TimeSpan.Zero;
        return Machines.GoDuration.TryParse(text, out var patience) && patience.TotalSeconds <= MaxWaitSeconds
            ? patience
            : throw ProblemException.Invalid($"wait_for_capacity must be 0 to {MaxWaitSeconds} seconds, as a number or like '10m'.");
    }

    private static void CheckNames(string field, IReadOnlyList<string>? names)
    {
        if (names is { Count: > MaxEach })
            throw Broken(field, $"has more than {MaxEach} elements");
        for (var i = 0; i < names?.Count; i++)
        {
            if (!IsName(names[i]))
                throw Broken($"{field}[{i}]", $"must be 1 to {MaxName} letters, digits, '.', '_' and '-'");
        }
    }

    private static bool IsName(string? text) =>
        text is { Length: > 0 and <= MaxName } && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');

    private static ProblemException Broken(string field, string rule) => ProblemException.Invalid($"config.placement.{field} {rule}.");
}
