using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Ravel.Cli.Connection;
using Ravel.Cli.Daemon;
using Ravel.Cli.Machines;
using Ravel.Cli.Shell;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Output;

/// <summary>JSON of the documents that only <c>ravel</c> prints or reads.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ContextFile))]
[JsonSerializable(typeof(DoctorReport))]
[JsonSerializable(typeof(VersionInfo))]
[JsonSerializable(typeof(DaemonStatus))]
[JsonSerializable(typeof(IReadOnlyList<MachineOutcome>))]
[JsonSerializable(typeof(RanMachine))]
[JsonSerializable(typeof(RemovedNamespace))]
[JsonSerializable(typeof(RemovedToken))]
[JsonSerializable(typeof(CopiedFiles))]
[JsonSerializable(typeof(ExportedImage))]
internal sealed partial class CliJson : JsonSerializerContext;

/// <summary>Of <c>namespace rm --json</c>.</summary>
internal sealed record RemovedNamespace(string Name);

/// <summary>Of <c>token rm --json</c>.</summary>
internal sealed record RemovedToken(string Id);

/// <summary>Of <c>cp --json</c>. <paramref name="Skipped"/>: what the archive had and was not made here, and why.</summary>
internal sealed record CopiedFiles(string Machine, string Source, string Destination, IReadOnlyList<string> Skipped);

/// <summary>Of <c>image export --json</c>.</summary>
internal sealed record ExportedImage(string Image, string Format, string Output);

/// <summary>Prints JSON for <c>--json</c>: one indented document, or one line each for streams.</summary>
internal static class JsonOutput
{
    // Written to a terminal or a file, never into HTML: '<', '+' and letters outside ASCII stay as they are.
    private static readonly JavaScriptEncoder Relaxed = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    private static readonly JsonSerializerOptions Indented = new(ApiJson.Default.Options)
    {
        WriteIndented = true,
        Encoder = Relaxed,
        TypeInfoResolver = JsonTypeInfoResolver.Combine(ApiJson.Default, CliJson.Default),
    };

    private static readonly JsonSerializerOptions OnOneLine = new(Indented) { WriteIndented = false };

    public static void Document<T>(Terminal terminal, T value) =>
        terminal.Out.WriteLine(JsonSerializer.Serialize(value, (JsonTypeInfo<T>)Indented.GetTypeInfo(typeof(T))));

    public static void Line<T>(Terminal terminal, T value) =>
        terminal.Out.WriteLine(JsonSerializer.Serialize(value, (JsonTypeInfo<T>)OnOneLine.GetTypeInfo(typeof(T))));
}
