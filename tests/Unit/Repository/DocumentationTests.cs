using System.Text.RegularExpressions;
using Ravel.Testing.Repository;

namespace Ravel.Unit.Repository;

/// <summary>What the documents say that a machine can check.</summary>
public sealed partial class DocumentationTests
{
    [Fact]
    public async Task Every_link_between_documents_leads_somewhere()
    {
        var broken = new List<string>();
        foreach (var page in (await SourceTree.FilesAsync(CancellationToken.None)).Where(path => path.EndsWith(".md", StringComparison.Ordinal)))
        {
            foreach (Match link in Link().Matches(File.ReadAllText(SourceTree.PathOf(page))))
            {
                var target = link.Groups[1].Value;
                if (!target.Contains("://", StringComparison.Ordinal) && !Resolves(page, target))
                    broken.Add($"{page}: {target}");
            }
        }

        Assert.Empty(broken);
    }

    [Fact]
    public async Task Every_decision_is_in_the_list_of_decisions()
    {
        var list = File.ReadAllText(SourceTree.PathOf("docs/decisions/README.md"));

        var missing = (await SourceTree.FilesAsync(CancellationToken.None))
            .Where(path => path.StartsWith("docs/decisions/0", StringComparison.Ordinal) && !list.Contains($"({Path.GetFileName(path)})", StringComparison.Ordinal));
        Assert.Empty(missing);
    }

    [Fact]
    public void The_developer_command_helps_with_every_command_it_has()
    {
        var script = File.ReadAllText(SourceTree.PathOf("dev"));
        var help = Help().Match(script).Groups[1].Value;
        var commands = Command().Matches(script).Select(match => match.Groups[1].Value).ToList();

        Assert.Contains("setup", commands);
        var unexplained = commands.Where(command => !Regex.IsMatch(help, $@"^  {command}\b", RegexOptions.Multiline));
        Assert.Empty(unexplained);
    }

    [Theory]
    [InlineData("Who may reference whom", "who-may-reference-whom")]
    [InlineData("`ravel run`, from start to end", "ravel-run-from-start-to-end")]
    public void A_heading_is_linked_to_as_forges_do(string heading, string anchor) => Assert.Equal(anchor, Anchor(heading));

    private static bool Resolves(string page, string target)
    {
        var parts = target.Split('#', 2);
        var file = parts[0].Length == 0
            ? SourceTree.PathOf(page)
            : Path.GetFullPath(Path.Combine(SourceTree.Root, Path.GetDirectoryName(page)!, parts[0]));
        if (parts.Length == 1)
            return File.Exists(file) || Directory.Exists(file);
        return File.Exists(file)
            && Heading().Matches(File.ReadAllText(file)).Any(heading => Anchor(heading.Groups[1].Value) == parts[1]);
    }

    private static string Anchor(string heading) =>
        NotInAnchor().Replace(heading.ToLowerInvariant(), "").Trim().Replace(' ', '-');

    [GeneratedRegex("""(?<!!)\[[^\]]+\]\(([^)\s]+)\)""")]
    private static partial Regex Link();

    [GeneratedRegex("""^#+ +(.+?)\s*$""", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex("""[^\w\- ]""")]
    private static partial Regex NotInAnchor();

    [GeneratedRegex("""<<'HELP'\n(.*?)\nHELP\n""", RegexOptions.Singleline)]
    private static partial Regex Help();

    [GeneratedRegex("""^    ([a-z]+)\)""", RegexOptions.Multiline)]
    private static partial Regex Command();
}
