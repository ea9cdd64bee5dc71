using Ravel.Cli.Output;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Errors;

/// <summary>
/// Something <c>ravel</c> tells its user in one line, <c>ravel: SUBJECT: what; remedy</c>, before it ends with an exit
/// code of <see cref="ExitCodes"/>.
/// </summary>
internal class CliException : Exception
{
    public CliException(string subject, string what, string? remedy = null, int exitCode = ExitCodes.Error)
        : base(what)
    {
        Subject = subject;
        Remedy = remedy;
        ExitCode = exitCode;
    }

    public string Subject { get; }

    public string? Remedy { get; }

    public int ExitCode { get; }

    /// <summary>The one line, without what a terminal would act on.</summary>
    public string Line => OneLine($"ravel: {Subject}: {Message}{(Remedy is null ? "" : $"; {Remedy}")}");

    public static CliException Usage(string subject, string what, string? remedy = null) =>
        new(subject, what, remedy, ExitCodes.Usage);

    private static string OneLine(string text)
    {
        var flat = string.Join(' ', text.Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
        return SafeText.Of(flat);
    }
}

/// <summary>The API refused: its problem, and what was asked for as the subject.</summary>
internal sealed class ProblemException : CliException
{
    public ProblemException(string subject, Problem problem, string? remedy = null)
        : base(subject, problem.Detail.TrimEnd('.'), remedy ?? Problems.RemedyFor(problem.Code, problem.Detail), ExitCodes.Of(problem.Code, runsWorkload: false))
    {
        Problem = problem;
    }

    public Problem Problem { get; }
}
