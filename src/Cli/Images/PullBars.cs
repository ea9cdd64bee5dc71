using System.Globalization;
using System.Text;
using Ravel.Cli.Output;
using Ravel.Cli.Processes;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Images;

/// <summary>
/// For a terminal: a bar for each layer, redrawn in place, gone when it is over. Never taller than the screen, because
/// lines that scrolled off its top cannot be redrawn, and never wider, because a line that wraps is two.
/// </summary>
/// <param name="size">Columns and rows at present; asked for at each drawing.</param>
internal sealed class PullBars(TextWriter to, bool colour, ITerminalSize size, TimeProvider time) : IPullView
{
    /// <summary>Of a screen: the sum, the line about further layers, and the cursor's.</summary>
    private const int OtherRows = 3;
    private const int MaxBars = 24;
    private const int MaxBarWidth = 40;
    private const int MinBarWidth = 5;
    private const int NameWidth = 12;
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(80);
    private readonly List<string> _order = [];
    private readonly Dictionary<string, PullProgress> _layers = [];
    private string _phase = "";
    private string? _registry;
    private List<int> _drawn = [];
    private long _drawnAt;

    public void Report(PullProgress progress)
    {
        if (progress.Phase is { } phase)
            _phase = phase;
        if (progress.Registry is { } registry)
            _registry = registry;
        if (progress.Layer is { } layer)
        {
            if (!_layers.ContainsKey(layer))
                _order.Add(layer);
            _layers[layer] = progress;
        }
        if (_drawn.Count > 0 && time.GetElapsedTime(_drawnAt) < Interval)
            return;
        Draw();
    }

    public void End()
    {
        if (_drawn.Count > 0)
            to.Write(Back(size.Current.Columns) + "\e[J");
        _drawn = [];
        to.Flush();
        size.Dispose();
    }

    private void Draw()
    {
        var (columns, rows) = size.Current;
        // What is still under way matters most; finished layers make room.
        var room = Math.Clamp(rows - OtherRows, 0, MaxBars);
        var shown = _order.OrderBy(layer => Rank(_layers[layer])).Take(room).ToHashSet();
        var lines = new List<(string Text, int Width)>();
        foreach (var layer in _order.Where(shown.Contains))
            lines.Add(Bar(layer, _layers[layer], columns));
        if (_order.Count > shown.Count && rows > 2)
            lines.Add(Plain($"and {_order.Count - shown.Count} more layers", columns, Colour.None));
        lines.Add(Plain($"{_phase}{(_registry is null ? "" : $" from {_registry}")} {Sum()}".Trim(), columns, Colour.Faint));

        var text = new StringBuilder(_drawn.Count > 0 ? Back(columns) : "");
        foreach (var (line, _) in lines)
            text.Append("\e[2K").Append(line).Append('\n');
        text.Append("\e[J");
        to.Write(text.ToString());
        to.Flush();
        _drawn = [.. lines.Select(line => line.Width)];
        _drawnAt = time.GetTimestamp();
    }

    /// <summary>To the first line drawn. A terminal that was made narrower has wrapped what stood there.</summary>
    private string Back(int columns) => $"\e[{_drawn.Sum(width => Math.Max(1, (width + columns - 1) / columns))}A\r";

    private (string Text, int Width) Bar(string layer, PullProgress progress, int columns)
    {
        var received = progress.Received ?? 0;
        var amount = progress.Total is > 0 ? $"{Humane.Bytes(received)}/{Humane.Bytes(progress.Total.Value)}" : Humane.Bytes(received);
        if (!IsDone(progress) && progress.BytesPerSecond is > 0)
            amount += $" {Humane.Bytes(progress.BytesPerSecond.Value)}/s";
        var name = LayerName.Short(layer).PadRight(NameWidth);
        var room = Math.Min(columns - name.Length - amount.Length - 3, MaxBarWidth);
        if (room < MinBarWidth)
            return Plain($"{name.TrimEnd()} {amount}", columns, Colour.None);
        var filled = progress.Total is > 0 ? (int)(Math.Clamp((double)received / progress.Total.Value, 0, 1) * room) : 0;
        var bar = (IsDone(progress) ? Colour.Good : Colour.None).Paint(new string('━', filled), colour);
        return ($"{name} {bar}{new string(' ', room - filled)} {amount}", name.Length + room + amount.Length + 2);
    }

    private string Sum()
    {
        var total = _layers.Values.Sum(progress => progress.Total ?? 0);
        if (total == 0)
            return "";
        var received = _layers.Values.Sum(progress => progress.Received ?? 0);
        var text = $"{Humane.Bytes(received)} of {Humane.Bytes(total)}";
        var rate = _layers.Values.Where(progress => !IsDone(progress)).Sum(progress => progress.BytesPerSecond ?? 0);
        return rate > 0 ? string.Create(CultureInfo.InvariantCulture, $"{text}, {Humane.Bytes(rate)}/s, {(total - received + rate - 1) / rate} s left") : text;
    }

    private (string Text, int Width) Plain(string text, int columns, Colour paint)
    {
        text = SafeText.Of(text);
        text = text.Length < columns ? text : text[..Math.Max(columns - 1, 0)];
        return (paint.Paint(text, colour), text.Length);
    }

    /// <summary>Under way, then waiting, then done.</summary>
    private static int Rank(PullProgress progress) => IsDone(progress) ? 2 : progress.Received is > 0 ? 0 : 1;

    private static bool IsDone(PullProgress progress) => progress.Total is { } total && progress.Received >= total;
}
