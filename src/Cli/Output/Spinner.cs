namespace Ravel.Cli.Output;

/// <summary>Shows on a terminal that something is under way and for how long; in a pipe it says so once.</summary>
internal sealed class Spinner : IDisposable
{
    private const string Frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);
    private readonly Terminal _terminal;
    private readonly TimeProvider _time;
    private readonly string _what;
    private readonly long _begun;
    private readonly Lock _gate = new();
    private readonly ITimer? _timer;
    private int _turn;
    private bool _isOver;

    private Spinner(Terminal terminal, TimeProvider time, string what)
    {
        _terminal = terminal;
        _time = time;
        _what = what;
        _begun = time.GetTimestamp();
        if (terminal.ErrorIsTerminal)
            _timer = time.CreateTimer(_ => Turn(), null, TimeSpan.Zero, Interval);
        else
            terminal.Error.WriteLine($"{what}…");
    }

    public static Spinner Start(Terminal terminal, TimeProvider time, string what) => new(terminal, time, SafeText.Of(what));

    public void Dispose()
    {
        if (_timer is null)
            return;
        _timer.Dispose();
        lock (_gate)
        {
            _isOver = true;
            _terminal.Error.Write("\r\e[2K");
        }
    }

    private void Turn()
    {
        lock (_gate)
        {
            if (!_isOver)
                _terminal.Error.Write($"\r\e[2K{Frames[_turn++ % Frames.Length]} {_what} {_time.GetElapsedTime(_begun).TotalSeconds:0} s");
        }
    }
}
