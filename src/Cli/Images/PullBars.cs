using System.Text;
using Ravel.Cli.Output;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Images;

/// <summary>For a terminal: a bar for each layer, redrawn in place, gone when it is over.</summary>
internal sealed class PullBars(TextWriter to, bool colour, int width, TimeProvider time) : IPullView
{
    /// <summary>More bars than this would scroll the first out of reach of the cursor on a small terminal.</summary>
    private const int MaxBars = 12;
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(80);
    private readonly List<string> _order = [];
    private readonly Dictionary<string, PullProgress> _layers = [];
    private string _phase = "";
    private int _drawn;
    private long _drawnAt;

    public void Report(PullProgress progress)
    {
        if (progress.Phase is { } phase)
            _phase = phase;
        if (progress.Layer is { } layer)
        {
            if (!_layers.ContainsKey(layer))
                _order.Add(layer);
            _layers[layer] = progress;
        }
        if (_drawn > 0 && time.GetElapsedTime(_drawnAt) < Interval)
            return;
        Draw();
    }

    public void End()
    {
        if (_drawn > 0)
            to.Write($"\e[{_drawn}A\e[J");
        _drawn = 0;
        to.Flush();
    }

    private void Draw()
    {
        var lines = new List<string>();
        // What is still under way matters most; finished layers make room.
        var shown = _order.Where(layer => !IsDone(_layers[layer])).Concat(_order.Where(layer => IsDone(_layers[layer]))).Take(MaxBars).ToHashSet();
        foreach (var layer in _order.Where(shown.Contains))
            lines.Add(Bar(layer, _layers[layer]));
        if (_order.Count > shown.Count)
            lines.Add($"and {_order.Count - shown.Count} more layers");
        lines.Add(Colour.Faint.Paint(Cut(SafeText.Of($"{_phase} {Sum()}".Trim())), colour));

        var text = new StringBuilder();
        if (_drawn > 0)
            text.Append($"\e[{_drawn}A");
        foreach (var line in lines)
            text.Append("\e[2K").Append(line).Append('\n');
        text.Append("\e[J");
        to.Write(text.ToString());
        to.Flush();
        _drawn = lines.Count;
        _drawnAt = time.GetTimestamp();
    }

    private string Bar(string layer, PullProgress progress)
    {
        var received = progress.Received ?? 0;
        var size = progress.Total is > 0 ? $"{Humane.Bytes(received)}/{Humane.Bytes(progress.Total.Value)}" : Humane.Bytes(received);
        var name = LayerName.Short(layer).PadRight(12);
        var room = Math.Clamp(width - name.Length - size.Length - 6, 5, 40);
        var filled = progress.Total is > 0 ? (int)(Math.Clamp((double)received / progress.Total.Value, 0, 1) * room) : 0;
        var bar = new string('━', filled);
        return $"{name} {(IsDone(progress) ? Colour.Good : Colour.None).Paint(bar, colour)}{new string(' ', room - filled)} {size}";
    }

    private string Sum()
    {
        var total = _layers.Values.Sum(progress => progress.Total ?? 0);
        return total == 0 ? "" : $"{Humane.Bytes(_layers.Values.Sum(progress => progress.Received ?? 0))} of {Humane.Bytes(total)}";
    }

    private string Cut(string text) => text.Length < width ? text : text[..(width - 1)];

    private static bool IsDone(PullProgress progress) => progress.Total is { } total && progress.Received >= total;
}
