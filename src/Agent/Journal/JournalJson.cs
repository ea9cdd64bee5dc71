using System.Text.Json.Serialization;
using Ravel.Agent.Instances;

namespace Ravel.Agent.Journal;

/// <summary>Members of a row that are never searched for are stored as JSON.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(StartFacts))]
[JsonSerializable(typeof(InstanceExit))]
internal sealed partial class JournalJson : JsonSerializerContext;
