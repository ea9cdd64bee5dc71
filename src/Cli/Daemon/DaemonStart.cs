using System.Diagnostics;
using System.Globalization;
using Ravel.Cli.Connection;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Processes;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Daemon;

/// <summary>Starts <c>raveld</c> in a session of its own, its output in the log of the data directory, and waits until it answers.</summary>
internal sealed class DaemonStart : IDisposable
{
    /// <summary>The first start migrates a database and unpacks a kernel; a slow disk gets this long.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);
    private static readonly TimeSpan GiveUpPatience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);

    /// <summary>
    /// exec twice, so that the pid stays the one of the child. Own session: the terminal's Ctrl-C reaches ravel alone, which
    /// then stops the machines before the daemon. The runtime's sockets for debuggers, which a daemon that is killed leaves in /tmp, are
    /// not made unless somebody asks for them; only the environment can say so.
    /// </summary>
    private const string Script = "umask 077; export DOTNET_EnableDiagnostics=\"${DOTNET_EnableDiagnostics-0}\"; exec setsid \"$@\" </dev/null >>\"$0\" 2>&1";

    private readonly Session _session;
    private readonly string _directory;
    private readonly Process _process;
    private readonly long _logStart;

    private DaemonStart(Session session, string directory, Process process, long logStart)
    {
        _session = session;
        _directory = directory;
        _process = process;
        _logStart = logStart;
    }

    public string LogPath => LogOf(_directory);

    /// <summary>Where in the log this daemon's output begins.</summary>
    public long LogStart => _logStart;

    public bool HasExited => _process.HasExited;

    public int ExitCode => _process.ExitCode;

    public static string LogOf(string directory) => Path.Combine(directory, DataDirectory.LogFileName);

    public static DaemonStart Begin(Session session, string directory, IReadOnlyList<string> options)
    {
        var binary = DaemonBinary.Find(session.Around);
        try
        {
            Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(directory, $"cannot be made: {e.Message.TrimEnd('.')}", "give another --data, or run as root");
        }
        var log = LogOf(directory);
        var start = File.Exists(log) ? new FileInfo(log).Length : 0;
        var process = Programs.Start("/bin/sh", ["-c", Script, log, binary, "run", "--data", directory, .. options], captureOutput: false)
            ?? throw new CliException("raveld", "cannot be started: there is no /bin/sh");
        return new DaemonStart(session, directory, process, start);
    }

    /// <summary>Waits until the daemon answers.</summary>
    /// <exception cref="CliException">It ended, or did not answer in time.</exception>
    public async Task<ClientConfig> UntilAnsweringAsync()
    {
        using var spinner = Spinner.Start(_session.Terminal, _session.Time, "starting raveld");
        var begun = _session.Time.GetTimestamp();
        try
        {
            while (_session.Time.GetElapsedTime(begun) < Patience)
            {
                if (DaemonProcess.FindRunning(_directory) is { } client && await AnswersAsync(client, _session.Cancelled))
                    return client;
                if (_process.HasExited)
                    throw Ended();
                await Task.Delay(Interval, _session.Time, _session.Cancelled);
            }
        }
        catch (OperationCanceledException)
        {
            await GiveUpAsync();
            throw;
        }
        await GiveUpAsync();
        throw new CliException("raveld", $"does not answer after {Patience.TotalSeconds:0} s", $"see {LogPath}");
    }

    /// <summary>
    /// Ends a daemon that nobody waits for any more: without its client.json no <c>down</c> would find it. Machines of before
    /// run on. Asked more than once, for it may not listen yet.
    /// </summary>
    private async Task GiveUpAsync()
    {
        var pid = _process.Id.ToString(CultureInfo.InvariantCulture);
        var begun = _session.Time.GetTimestamp();
        while (!_process.HasExited && _session.Time.GetElapsedTime(begun) < GiveUpPatience)
        {
            await Programs.CaptureAsync("/bin/sh", ["-c", "kill -TERM \"$0\"", pid], CancellationToken.None, quiet: true);
            await Task.Delay(Interval, _session.Time, CancellationToken.None);
        }
    }

    public CliException Ended()
    {
        var last = LogTail.LastLine(LogPath, _logStart);
        return new CliException(
            "raveld", $"ended with {_process.ExitCode}{(last is null ? "" : $": {last}")}", $"see {LogPath} and: ravel doctor");
    }

    public void Dispose() => _process.Dispose();

    /// <summary>Whether the daemon that <paramref name="client"/> names answers; a refusal is an answer.</summary>
    public static async Task<bool> AnswersAsync(ClientConfig client, CancellationToken cancellationToken)
    {
        using var api = new ApiClient(new ServerAddress(new Uri(client.Server.TrimEnd('/') + "/"), client.Token), null);
        try
        {
            await api.GetServerAsync(cancellationToken);
            return true;
        }
        catch (ProblemException e)
        {
            return e.Problem.Status < 500;
        }
        catch (CliException)
        {
            return false;
        }
    }
}
