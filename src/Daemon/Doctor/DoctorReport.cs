using System.Text.Json.Serialization;

namespace Ravel.Daemon.Doctor;

/// <summary>What <c>raveld doctor --json</c> prints.</summary>
internal sealed record DoctorReport(IReadOnlyList<DoctorCheck> Checks)
{
    [JsonIgnore]
    public bool IsUsable => Checks.All(check => check.Status != DoctorStatus.Fail);
}

/// <param name="Subject">What was looked at, in a word or two.</param>
/// <param name="Message">What was found.</param>
/// <param name="Remedy">What to do about it; null when nothing need be done.</param>
internal sealed record DoctorCheck(string Subject, DoctorStatus Status, string Message, string? Remedy = null);

[JsonConverter(typeof(JsonStringEnumConverter<DoctorStatus>))]
internal enum DoctorStatus
{
    [JsonStringEnumMemberName("ok")]
    Ok,

    /// <summary>Works, but slower or with less than it could.</summary>
    [JsonStringEnumMemberName("warn")]
    Warn,

    /// <summary>Machines cannot run until it is mended.</summary>
    [JsonStringEnumMemberName("fail")]
    Fail,
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true)]
[JsonSerializable(typeof(DoctorReport))]
internal sealed partial class DoctorJson : JsonSerializerContext;
