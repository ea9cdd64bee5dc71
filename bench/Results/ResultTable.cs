using System.Text;

namespace Ravel.Bench.Results;

/// <summary>Samples as a Markdown table, which reads well on a terminal too. The last row is the baseline.</summary>
internal static class ResultTable
{
    public static string Render(string what, IReadOnlyList<Samples> samples)
    {
        var baseline = samples[^1];
        List<string[]> rows = [[what, "rounds", "median", "min", "max", "ratio"]];
        rows.AddRange(samples.Select(its => (string[])
        [
            its.Name, $"{its.Count}", Seconds(its.Median), Seconds(its.Minimum), Seconds(its.Maximum), $"{its.RatioTo(baseline):0.00}",
        ]));
        return Render(rows);
    }

    /// <param name="rows">The first is the head; all are as long.</param>
    public static string Render(IReadOnlyList<string[]> rows)
    {
        var widths = Enumerable.Range(0, rows[0].Length).Select(column => rows.Max(row => row[column].Length)).ToArray();
        var text = new StringBuilder();
        foreach (var (index, row) in rows.Index())
        {
            text.Append("| ").AppendJoin(" | ", row.Select((cell, column) => column == 0 ? cell.PadRight(widths[column]) : cell.PadLeft(widths[column]))).Append(" |\n");
            if (index == 0)
                text.Append('|').AppendJoin('|', widths.Select((width, column) => column == 0 ? new string('-', width + 2) : new string('-', width + 1) + ":")).Append("|\n");
        }
        return text.ToString();
    }

    private static string Seconds(TimeSpan value) => $"{value.TotalSeconds:0.000} s";
}
