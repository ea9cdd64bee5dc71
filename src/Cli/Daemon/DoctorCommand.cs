using System.Text.Json;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Processes;

namespace Ravel.Cli.Daemon;

/// <summary>What <c>raveld doctor --json</c> prints.</summary>
internal sealed record DoctorReport(IReadOnlyList<DoctorCheck> Checks);

/// <param name="Subject">What was looked at.</param>
/// <param name="Status">ok, warn or fail.</param>
/// <param name="Message">What was found.</param>
/// <param name="Remedy">How to mend it.</param>
internal sealed record DoctorCheck(string Subject, string Status, string Message, string? Remedy);

/// <summary><c>ravel doctor</c>.</summary>
internal static class DoctorCommand
{
    public static CliCommand Create() => new("doctor", "Show what this host can do, and how to mend what it can't")
    {
        Usage = "[OPTIONS]",
        Examples = ["ravel doctor", "ravel doctor --json | jq '.checks[] | select(.status == \"fail\")'"],
        Run = async session =>
        {
            var binary = DaemonBinary.Find(session.Around);
            string[] data = session.Get(GlobalOptions.Data) is { } directory ? ["--data", directory] : [];
            (int ExitCode, string Output)? captured;
            // It boots a guest, which takes a while.
            using (session.Terminal.ErrorIsTerminal ? Spinner.Start(session.Terminal, session.Time, "looking at this host") : null)
                captured = await Programs.CaptureAsync(binary, ["doctor", "--json", .. data], session.Cancelled);
            var result = captured ?? throw new CliException("doctor", $"{binary} cannot be executed", "install raveld next to ravel, or set RAVELD");
            var report = Read(result.Output)
                ?? throw new CliException("doctor", $"{binary} ended with {result.ExitCode} and no report", "are ravel and raveld of the same version?");
            if (session.Json)
                session.Terminal.Out.WriteLine(result.Output.TrimEnd());
            else
                Render(report, session.Terminal);
            return report.Checks.Any(check => check.Status == "fail") ? ExitCodes.Error : ExitCodes.Success;
        },
    };

    public static void Render(DoctorReport report, Terminal terminal)
    {
        var width = report.Checks.Select(check => check.Subject.Length).DefaultIfEmpty(0).Max();
        foreach (var check in report.Checks)
        {
            var (mark, colour) = check.Status switch
            {
                "ok" => ("✓", Colour.Good),
                "warn" => ("!", Colour.Warning),
                _ => ("✗", Colour.Bad),
            };
            var subject = SafeText.Of(check.Subject).PadRight(width);
            terminal.Out.WriteLine($"{colour.Paint(mark, terminal.HasColour)} {terminal.Bold(subject)}  {SafeText.Of(check.Message)}");
            if (check.Status != "ok" && !string.IsNullOrEmpty(check.Remedy))
                terminal.Out.WriteLine($"  {new string(' ', width)}  → {SafeText.Of(check.Remedy)}");
        }
        var failed = report.Checks.Count(check => check.Status == "fail");
        var warned = report.Checks.Count(check => check.Status == "warn");
        terminal.Out.WriteLine();
        terminal.Out.WriteLine((failed, warned) switch
        {
            (0, 0) => "All is well.",
            (0, _) => $"Ravel can run here; {warned} {(warned == 1 ? "thing" : "things")} could be better.",
            _ => $"{failed} {(failed == 1 ? "thing keeps" : "things keep")} Ravel from running here.",
        });
    }

    private static DoctorReport? Read(string json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, CliJson.Default.DoctorReport) is { Checks: not null } report ? report : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
