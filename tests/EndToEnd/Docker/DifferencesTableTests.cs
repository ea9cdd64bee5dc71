using Ravel.Testing.Repository;

namespace Ravel.EndToEnd.Docker;

/// <summary>The table of docs/docker.md. Needs no host.</summary>
public sealed class DifferencesTableTests
{
    private const string Begin = "<!-- differences: begin -->";
    private const string End = "<!-- differences: end -->";

    [Fact]
    public void The_documented_table_is_the_one_the_tests_allow()
    {
        var path = System.IO.Path.Combine(SourceTree.Root, "docs", "docker.md");
        var text = File.ReadAllText(path);
        var begin = text.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length;
        var end = text.IndexOf(End, StringComparison.Ordinal);
        var table = KnownDifferences.Table();
        if (Environment.GetEnvironmentVariable("RAVEL_WRITE_DOCS") == "1")
            File.WriteAllText(path, text[..begin] + "\n" + table + text[end..]);
        Assert.Equal(table.Trim(), text[begin..end].Trim());
    }
}
