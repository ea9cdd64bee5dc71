using System.Text.RegularExpressions;
using Ravel.Testing.Repository;

namespace Ravel.Unit.Repository;

/// <summary>docs/guarantees.md names tests that there are.</summary>
public sealed partial class GuaranteeTests
{
    [Fact]
    public async Task Every_guarantee_names_a_test_that_there_is()
    {
        var tests = (await SourceTree.FilesAsync(CancellationToken.None))
            .Where(path => path.StartsWith("tests/", StringComparison.Ordinal) && path.EndsWith("Tests.cs", StringComparison.Ordinal))
            .ToLookup(path => Path.GetFileNameWithoutExtension(path)!, StringComparer.Ordinal);
        var rows = File.ReadAllLines(SourceTree.PathOf("docs/guarantees.md")).Where(line => Row().IsMatch(line)).ToList();
        Assert.NotEmpty(rows);

        Assert.All(rows, row => Assert.Matches(Name(), row));
        Assert.Empty(rows.SelectMany(row => Name().Matches(row)).Where(name => !tests[name.Groups[1].Value].Any(path => Has(path, name.Groups[2].Value))).Select(n => n.Value));
    }

    private static bool Has(string path, string test) =>
        Regex.IsMatch(File.ReadAllText(SourceTree.PathOf(path)), $@"\[(Fact|Theory)[^\n]*\]\s*(\[[^\n]*\]\s*)*public [^\n]*\b{test}\(");

    [GeneratedRegex("""^\| (?!guarantee )[A-Z]""")]
    private static partial Regex Row();

    [GeneratedRegex("""`(\w+Tests)\.(\w+)`""")]
    private static partial Regex Name();
}
