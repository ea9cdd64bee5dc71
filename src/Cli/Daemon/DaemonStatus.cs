namespace Ravel.Cli.Daemon;

/// <summary>What <c>up</c> and <c>down</c> report with <c>--json</c>.</summary>
/// <param name="State">started, already-up, stopped or not-up.</param>
/// <param name="DataDirectory">Where the daemon keeps its things.</param>
/// <param name="Server">Address of its API.</param>
/// <param name="Pid">Of the daemon.</param>
/// <param name="Log">Where it writes its log.</param>
internal sealed record DaemonStatus(string State, string DataDirectory, string? Server = null, int? Pid = null, string? Log = null);
