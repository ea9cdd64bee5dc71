using Ravel.Contracts.Api;

namespace Ravel.Cli.Errors;

/// <summary>
/// Exit codes of <c>ravel</c>, documented in docs/cli.md. <c>run</c> and <c>exec</c> pass on the workload's own code, which
/// includes 126 (not executable) and 127 (not found) and 128+N (ended by signal N).
/// </summary>
internal static class ExitCodes
{
    public const int Success = 0;
    public const int Error = 1;
    public const int Usage = 2;

    /// <summary><c>run</c> or <c>exec</c> could not run the workload at all, whatever the reason.</summary>
    public const int CouldNotRun = 125;

    /// <summary>SIGINT; other signals are 128+N as well.</summary>
    public const int Interrupted = 130;

    /// <summary>The exit code for a problem of the API.</summary>
    /// <param name="code">One of <see cref="ProblemCodes"/>, or one that a newer server made up.</param>
    /// <param name="runsWorkload">The command passes on a workload's exit code, so that a failure of Ravel's must not look like one.</param>
    public static int Of(string code, bool runsWorkload) => (runsWorkload, code) switch
    {
        (true, _) => CouldNotRun,
        (false, ProblemCodes.InvalidRequest or ProblemCodes.MalformedJson) => Usage,
        _ => Error,
    };

    /// <summary>The exit code for any error. Also for what was typed wrong, as docker has it: 2 could be the workload's own.</summary>
    public static int Of(CliException error, bool runsWorkload) => error switch
    {
        ProblemException { Problem.Code: var code } => Of(code, runsWorkload),
        { ExitCode: Error or Usage } when runsWorkload => CouldNotRun,
        _ => error.ExitCode,
    };

    /// <summary>Standard output is a pipe that nobody reads any more: what a shell reports for SIGPIPE.</summary>
    public const int BrokenPipe = 141;
}
