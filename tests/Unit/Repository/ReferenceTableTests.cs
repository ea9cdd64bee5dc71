using System.Xml.Linq;
using Ravel.Testing.Repository;

namespace Ravel.Unit.Repository;

/// <summary>The README's table of who may reference whom, against every project file.</summary>
public sealed class ReferenceTableTests
{
    private const string Anything = "anything";

    private static readonly Dictionary<string, IReadOnlySet<string>?> Table =
        ReadTable(File.ReadAllLines(SourceTree.PathOf("README.md")));

    [Fact]
    public async Task Every_project_has_a_row_and_every_row_a_project()
    {
        var projects = (await ProjectsAsync()).Select(Directory).ToHashSet(StringComparer.Ordinal);

        Assert.Equal(projects.Order(StringComparer.Ordinal), Table.Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_project_references_what_its_row_says_and_no_other()
    {
        var differences = new List<string>();
        foreach (var project in await ProjectsAsync())
        {
            if (!Table.TryGetValue(Directory(project), out var allowed) || allowed is null)
                continue;
            var references = XDocument.Load(SourceTree.PathOf(project)).Descendants("ProjectReference")
                .Select(reference => Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value))
                .ToHashSet(StringComparer.Ordinal);
            differences.AddRange(references.Except(allowed).Select(name => $"{project} references {name}, which README.md does not allow"));
            differences.AddRange(allowed.Except(references).Select(name => $"README.md lets {project} reference {name}, which it does not"));
        }

        Assert.Empty(differences);
    }

    [Fact]
    public async Task Every_project_is_in_the_solution()
    {
        var solution = XDocument.Load(SourceTree.PathOf("Ravel.slnx")).Descendants("Project").Select(project => project.Attribute("Path")!.Value);

        Assert.Equal(await ProjectsAsync(), solution.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_table_is_read_with_its_lists_and_its_free_rows()
    {
        var table = ReadTable(
        [
            "| something | else |",
            "| project | is | may reference |",
            "|---|---|---|",
            "| `src/One` | no reference | – |",
            "| `src/Two`, `src/Three` | a few | One, Four |",
            "| `bench` | all | anything |",
            "",
            "| `src/Five` | another table | One |",
        ]);

        Assert.Equal(["bench", "src/One", "src/Three", "src/Two"], table.Keys.Order(StringComparer.Ordinal));
        Assert.Empty(table["src/One"]!);
        Assert.Equal(["Four", "One"], table["src/Three"]!.Order(StringComparer.Ordinal));
        Assert.Null(table["bench"]);
    }

    /// <summary>Directory of each project → names it may reference; null for anything.</summary>
    private static Dictionary<string, IReadOnlySet<string>?> ReadTable(IReadOnlyList<string> lines)
    {
        var rows = lines
            .SkipWhile(line => !line.StartsWith("| project |", StringComparison.Ordinal))
            .Skip(2)
            .TakeWhile(line => line.StartsWith('|'));
        var table = new Dictionary<string, IReadOnlySet<string>?>(StringComparer.Ordinal);
        foreach (var row in rows)
        {
            var cells = row.Trim('|').Split('|', StringSplitOptions.TrimEntries);
            var names = cells[2] == "–" ? [] : cells[2].Split(',', StringSplitOptions.TrimEntries);
            foreach (var project in cells[0].Split(',', StringSplitOptions.TrimEntries))
                table.Add(project.Trim('`'), names is [Anything] ? null : names.ToHashSet(StringComparer.Ordinal));
        }
        return table;
    }

    private static async Task<IReadOnlyList<string>> ProjectsAsync() =>
        [.. (await SourceTree.FilesAsync(CancellationToken.None)).Where(path => path.EndsWith(".csproj", StringComparison.Ordinal))];

    private static string Directory(string project) => Path.GetDirectoryName(project)!;
}
