namespace Ravel.Cli.Output;

/// <summary>One field of a table.</summary>
internal readonly record struct Cell(string Text, Colour Colour)
{
    public static implicit operator Cell(string? text) => new(text ?? "", Colour.None);
}

/// <summary>Columns as <c>docker ps</c> prints them: a header, three blanks between, nothing drawn, so that awk reads it too.</summary>
internal sealed class Table
{
    private const int Gap = 3;
    private readonly string[] _headers;
    private readonly List<Cell[]> _rows = [];

    public Table(params string[] headers) => _headers = headers;

    public void Add(params Cell[] cells) =>
        _rows.Add([.. cells.Select(cell => cell with { Text = SafeText.Of(cell.Text) })]);

    /// <param name="terminal">Where to.</param>
    /// <param name="end">What each line ends with, before its line feed.</param>
    /// <param name="lines">How many there may be, the header included.</param>
    public void Write(Terminal terminal, string end = "", int lines = int.MaxValue)
    {
        var widths = new int[_headers.Length];
        for (var column = 0; column < widths.Length; column++)
            widths[column] = Math.Max(_headers[column].Length, _rows.Count == 0 ? 0 : _rows.Max(row => row[column].Text.Length));

        Line(terminal.Out, widths, [.. _headers.Select(header => (Cell)header)], (_, text) => terminal.Bold(text), end);
        foreach (var row in _rows.Take(Math.Max(0, lines - 1)))
            Line(terminal.Out, widths, row, (cell, text) => cell.Colour.Paint(text, terminal.HasColour), end);
    }

    private static void Line(TextWriter to, int[] widths, Cell[] cells, Func<Cell, string, string> paint, string end)
    {
        for (var column = 0; column < cells.Length; column++)
        {
            var cell = cells[column];
            to.Write(cell.Text.Length == 0 ? "" : paint(cell, cell.Text));
            // No blanks at the end of a line.
            if (cells.Skip(column + 1).Any(rest => rest.Text.Length > 0))
                to.Write(new string(' ', widths[column] + Gap - cell.Text.Length));
        }
        to.Write(end + '\n');
    }
}
