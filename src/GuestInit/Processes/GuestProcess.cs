using System.Text;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Processes;

/// <summary>
/// The workload or an exec session: a child, and the descriptors between it and its streams. Output is read only when its
/// stream has room, so that a host that does not consume slows the process down instead of filling memory.
/// </summary>
internal sealed class GuestProcess
{
    private const int MaxAccountFile = 4 * 1024 * 1024;

    private readonly byte[] _buffer;
    private readonly Pump _stdout;
    private readonly Pump _stderr;
    private readonly bool _hasTerminal;
    private GuestInput? _input;
    private int _stdin;
    private int _stdinPlace = -1;

    private GuestProcess(int pid, Pump stdout, Pump stderr, int stdin, GuestInput? input, bool hasTerminal, byte[] buffer)
    {
        Pid = pid;
        _stdout = stdout;
        _stderr = stderr;
        _stdin = stdin;
        _input = input;
        _hasTerminal = hasTerminal;
        _buffer = buffer;
    }

    public int Pid { get; }

    /// <summary>How it ended; output may still be on its way.</summary>
    public ChildExit? Exit { get; private set; }

    /// <summary>It ended and all its output is in its streams.</summary>
    public bool IsDone => Exit is not null && _stdout.IsClosed && _stderr.IsClosed;

    /// <summary>It has to be looked at even if nothing more happens to its descriptors: a process it left behind may hold them.</summary>
    public bool IsDraining => Exit is not null && (_stdout.HasRoom || _stderr.HasRoom);

    /// <param name="config">What to run.</param>
    /// <param name="hostname">For the environment.</param>
    /// <param name="stdout">Stream of standard output, and of everything if there is a terminal.</param>
    /// <param name="stderr">Stream of standard error.</param>
    /// <param name="input">Stream of standard input; null = /dev/null, or a terminal nobody types at.</param>
    /// <param name="controlGroup">Where it runs; null = beside the init.</param>
    /// <param name="buffer">Shared by all processes of the loop.</param>
    /// <exception cref="SetupException">It could not be started.</exception>
    public static GuestProcess Start(
        ProcessConfig config, string hostname, GuestOutput stdout, GuestOutput stderr, GuestInput? input, ControlGroup? controlGroup, byte[] buffer)
    {
        if (config.Arguments.Count == 0 || config.Arguments[0].Length == 0)
            throw new SetupException(SetupException.SetupFailed, "there is no command to run: neither the image nor the machine names one");
        var user = UserLookup.Resolve(config.User, ReadText("/etc/passwd"), ReadText("/etc/group"));
        var environment = ProcessEnvironment.Build(config, hostname, user.Home);
        var directory = config.WorkingDirectory.Length == 0 ? "/" : config.WorkingDirectory;
        FileSystems.MakeDirectories(directory);
        var path = ProgramLookup.Find(config.Arguments[0], ProcessEnvironment.Get(environment, "PATH"));

        var group = controlGroup?.Open() ?? -1;
        StandardStreams? descriptors = null;
        int pid, error;
        ChildStep step;
        try
        {
            descriptors = config.Tty ? OpenTerminal(config) : OpenPipes(input is not null);
            (pid, step, error) = ChildStart.Start(new ChildSpec
            {
                Path = path,
                Arguments = config.Arguments,
                Environment = environment,
                WorkingDirectory = directory,
                UserId = user.UserId,
                GroupId = user.GroupId,
                Groups = user.Groups,
                Stdin = descriptors.ChildStdin,
                Stdout = descriptors.ChildStdout,
                Stderr = descriptors.ChildStderr,
                HasTerminal = config.Tty,
                ControlGroup = group,
            });
        }
        catch
        {
            descriptors?.CloseOwnSide();
            throw;
        }
        finally
        {
            Descriptors.Close(group);
            descriptors?.CloseChildSide();
        }
        if (pid == 0)
        {
            descriptors.CloseOwnSide();
            throw ProgramLookup.Explain(config, directory, path, step, error);
        }
        return new GuestProcess(
            pid, new Pump(descriptors.Stdout, stdout), new Pump(descriptors.Stderr, stderr), descriptors.Stdin, input, config.Tty, buffer);
    }

    public void Ended(ChildExit exit) => Exit = exit;

    /// <summary>A new session feeds standard input.</summary>
    public void Feed(GuestInput? input) => _input = input;

    public void Resize(ushort columns, ushort rows)
    {
        if (_hasTerminal && _stdout.Descriptor >= 0)
            Terminal.Resize(_stdout.Descriptor, columns, rows);
    }

    public void AddTo(PollSet polls)
    {
        _stdout.AddTo(polls);
        _stderr.AddTo(polls);
        // A terminal that hung up took its input with it.
        if (_hasTerminal && _stdout.IsClosed)
            _stdin = -1;
        _stdinPlace = _stdin >= 0 && _input is { Front.Length: > 0 } ? polls.Add(_stdin, PollEvents.Out) : -1;
    }

    /// <summary>Moves what can be moved after a poll.</summary>
    public void Move(PollSet polls)
    {
        _stdout.Move(polls, _buffer, Exit is not null);
        _stderr.Move(polls, _buffer, Exit is not null);
        if (polls.Returned(_stdinPlace) != PollEvents.None)
            WriteInput();
        if (_input is { IsAtEnd: true } && !_hasTerminal)
            CloseInput();
        if (Exit is not null)
            CloseInput();
    }

    /// <summary>Gives up all descriptors: nobody is interested any more.</summary>
    public void Abandon()
    {
        _stdout.Close();
        _stderr.Close();
        CloseInput();
    }

    private void WriteInput()
    {
        var written = Descriptors.Write(_stdin, _input!.Front);
        if (written >= 0)
            _input.Take(written);
        else if (written is not (-Errno.Again or -Errno.Interrupted))
            CloseInput();
    }

    private void CloseInput()
    {
        _input?.Close();
        _input = null;
        // A terminal's one descriptor belongs to its output.
        if (!_hasTerminal)
            Descriptors.Close(_stdin);
        _stdin = -1;
    }

    private static string ReadText(string path) =>
        FileSystems.ReadFile(path, MaxAccountFile) is { } content ? Encoding.UTF8.GetString(content) : "";

    private static StandardStreams OpenTerminal(ProcessConfig config)
    {
        var (master, slave) = Terminal.Open(config.Columns, config.Rows);
        return new StandardStreams(master, master, -1, slave, slave, slave);
    }

    /// <exception cref="SystemCallException">There are no more descriptors; none is left open.</exception>
    private static StandardStreams OpenPipes(bool hasInput)
    {
        var open = new List<int>(6);
        try
        {
            var (stdinRead, stdinWrite) = hasInput ? Pipe() : (Descriptors.Open("/dev/null", Descriptors.ReadOnly), -1);
            open.Add(stdinRead);
            var (stdoutRead, stdoutWrite) = Pipe();
            var (stderrRead, stderrWrite) = Pipe();
            Descriptors.SetNonBlocking(stdoutRead);
            Descriptors.SetNonBlocking(stderrRead);
            if (hasInput)
                Descriptors.SetNonBlocking(stdinWrite);
            return new StandardStreams(stdinWrite, stdoutRead, stderrRead, stdinRead, stdoutWrite, stderrWrite);
        }
        catch
        {
            foreach (var descriptor in open.Distinct())
                Descriptors.Close(descriptor);
            throw;
        }

        (int Read, int Write) Pipe()
        {
            var pipe = Descriptors.Pipe();
            open.Add(pipe.Read);
            open.Add(pipe.Write);
            return pipe;
        }
    }

    private sealed record StandardStreams(int Stdin, int Stdout, int Stderr, int ChildStdin, int ChildStdout, int ChildStderr)
    {
        public void CloseChildSide()
        {
            Descriptors.Close(ChildStdin);
            if (ChildStdout != ChildStdin)
            {
                Descriptors.Close(ChildStdout);
                Descriptors.Close(ChildStderr);
            }
        }

        public void CloseOwnSide()
        {
            Descriptors.Close(Stdin);
            if (Stdout != Stdin)
                Descriptors.Close(Stdout);
            Descriptors.Close(Stderr);
        }
    }
}
