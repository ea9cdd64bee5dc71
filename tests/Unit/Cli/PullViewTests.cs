using System.Text;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Time.Testing;
using Ravel.Cli.Images;
using Ravel.Cli.Processes;
using Ravel.Contracts.Api;

namespace Ravel.Unit.Cli;

/// <summary>What a pull looks like while it runs: on a terminal, judged by a small one that does as it is told, and in a pipe.</summary>
public sealed partial class PullViewTests : IDisposable
{
    private readonly Screen _screen = new(80, 24);
    private readonly PullBars _bars;

    public PullViewTests() =>
        _bars = new PullBars(_screen, colour: false, _screen, new FakeTimeProvider { AutoAdvanceAmount = TimeSpan.FromSeconds(1) });

    public void Dispose() => _screen.Dispose();

    [Fact]
    public void A_layer_is_a_bar_with_its_bytes_and_rate()
    {
        _bars.Report(new PullProgress { Phase = "pull", Registry = "mirror.example:5000" });
        _bars.Report(Layer(1, 500, 1000, rate: 250));

        Assert.Equal(
            [$"{Name(1)} {new string('━', 20)}{new string(' ', 20)} 500B/1.00kB 250B/s", "pull from mirror.example:5000 500B of 1.00kB, 250B/s, 2 s left"],
            _screen.Lines);
    }

    [Fact]
    public void Bars_are_redrawn_in_place_and_gone_at_the_end()
    {
        for (var i = 0; i <= 10; i++)
            _bars.Report(Layer(1, i * 100, 1000));
        Assert.Equal(2, _screen.Lines.Count);
        Assert.Contains("1.00kB/1.00kB", _screen.Lines[0]);

        _bars.End();
        Assert.Empty(_screen.Lines);
        Assert.True(_screen.IsDisposed);
    }

    [Theory]
    [InlineData(24)]
    [InlineData(10)]
    [InlineData(5)]
    [InlineData(3)]
    [InlineData(2)]
    public void Many_layers_are_never_taller_than_the_screen(int rows)
    {
        _screen.Resize(80, rows);
        for (var i = 0; i < 50; i++)
            _bars.Report(Layer(i, 0, 1000));
        for (var i = 0; i < 50; i++)
        {
            _bars.Report(Layer(i, 400, 1000));
            _bars.Report(Layer(i, 1000, 1000));
        }
        Assert.Equal(0, _screen.Scrolled);
        Assert.InRange(_screen.Lines.Count, 1, rows - 1);
    }

    [Fact]
    public void Layers_under_way_come_before_those_that_wait_or_are_done()
    {
        _screen.Resize(80, 5);
        _bars.Report(Layer(1, 1000, 1000));
        _bars.Report(Layer(2, 0, 1000));
        _bars.Report(Layer(3, 10, 1000));
        _bars.Report(Layer(4, 20, 1000));

        Assert.Equal([Name(3), Name(4), "and 2 more l"], _screen.Lines.Take(3).Select(line => line[..12]));
    }

    [Theory]
    [InlineData(120)]
    [InlineData(60)]
    [InlineData(33)]
    [InlineData(20)]
    [InlineData(8)]
    public void A_terminal_may_be_resized_in_the_middle(int columns)
    {
        for (var i = 0; i < 3; i++)
            _bars.Report(Layer(i, 400, 1000, rate: 123_456));
        _screen.Resize(columns, 24);
        for (var i = 0; i < 3; i++)
            _bars.Report(Layer(i, 500, 1000, rate: 123_456));

        Assert.Equal(4, _screen.Lines.Count);
        Assert.All(_screen.Lines, line => Assert.InRange(line.Length, 1, columns));
        _bars.End();
        Assert.Empty(_screen.Lines);
    }

    [Fact]
    public void What_a_registry_is_called_does_nothing_to_the_terminal()
    {
        _bars.Report(new PullProgress { Phase = "pull", Registry = "a\e[2Jb\n" });
        Assert.DoesNotContain('\e', Assert.Single(_screen.Lines));
    }

    [Fact]
    public void In_a_pipe_each_layer_is_one_line()
    {
        var to = new StringWriter { NewLine = "\n" };
        var lines = new PullLines(to);

        lines.Report(new PullProgress { Phase = "resolve" });
        lines.Report(new PullProgress { Phase = "pull", Registry = "mirror.example" });
        lines.Report(Layer(1, 0, 1000));
        lines.Report(Layer(1, 500, 1000));
        lines.Report(Layer(1, 1000, 1000));
        lines.Report(Layer(1, 1000, 1000));
        lines.Report(new PullProgress { Phase = "build" });

        Assert.Equal($"resolve\npull from mirror.example\n{Name(1)} 1.00kB\nbuild\n", to.ToString());
    }

    [Fact]
    public void The_last_line_has_digest_size_and_time() =>
        Assert.Equal(
            "sha256:abc 12.3MB in 4.3 s",
            ImageCommands.Summary(new Image { Digest = "sha256:abc", References = [], Size = 12_345_678, CreatedAt = default }, TimeSpan.FromMilliseconds(4321)));

    private static string Name(int number) => $"{number:x12}";

    private static PullProgress Layer(int number, long received, long total, long? rate = null) =>
        new() { Phase = "pull", Layer = $"sha256:{number:x12}{new string('0', 52)}", Received = received, Total = total, BytesPerSecond = rate };

    /// <summary>A terminal that knows cursor up, erase line, erase below, and wraps and scrolls; a resize wraps what stands there anew.</summary>
    private sealed partial class Screen(int columns, int rows) : StringWriter, ITerminalSize
    {
        private List<StringBuilder> _lines = [new()];
        private int _row;

        public (int Columns, int Rows) Current { get; private set; } = (columns, rows);

        public bool IsDisposed { get; private set; }

        /// <summary>Lines that left the screen at its top.</summary>
        public int Scrolled { get; private set; }

        public List<string> Lines => [.. _lines.Select(line => line.ToString()).Where(line => line.Length > 0)];

        public void Resize(int columns, int rows)
        {
            var wrapped = new List<StringBuilder>();
            for (var i = 0; i < _lines.Count; i++)
            {
                if (i == _row)
                    _row = wrapped.Count;
                wrapped.AddRange(_lines[i].Length == 0 ? [new StringBuilder()] : _lines[i].ToString().Chunk(columns).Select(part => new StringBuilder(new string(part))));
            }
            _lines = wrapped;
            Current = (columns, rows);
        }

        public override void Write(string? text)
        {
            foreach (Match piece in Pieces().Matches(text!))
            {
                switch (piece.Value)
                {
                    case "\n":
                        _row++;
                        if (_row == _lines.Count)
                            _lines.Add(new StringBuilder());
                        if (_lines.Count > Current.Rows)
                        {
                            _lines.RemoveAt(0);
                            _row--;
                            Scrolled++;
                        }
                        break;
                    case "\r":
                        break;
                    case "\e[2K":
                        _lines[_row].Clear();
                        break;
                    case "\e[J":
                        _lines.RemoveRange(_row, _lines.Count - _row);
                        _lines.Add(new StringBuilder());
                        break;
                    case ['\e', '[', .. var count, 'A']:
                        _row = Math.Max(0, _row - int.Parse(count, System.Globalization.CultureInfo.InvariantCulture));
                        break;
                    default:
                        Assert.True(piece.Length <= Current.Columns, $"\"{piece.Value}\" would wrap");
                        _lines[_row].Clear().Append(piece.Value);
                        break;
                }
            }
        }

        protected override void Dispose(bool disposing)
        {
            IsDisposed = true;
            base.Dispose(disposing);
        }

        [GeneratedRegex(@"\n|\r|\e\[\d*[A-Z]|[^\n\r\e]+")]
        private static partial Regex Pieces();
    }
}
