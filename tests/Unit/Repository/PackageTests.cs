using System.Xml.Linq;
using Ravel.Testing.Repository;

namespace Ravel.Unit.Repository;

/// <summary>Every package is there on purpose: Directory.Packages.props against the projects.</summary>
public sealed class PackageTests
{
    private static readonly XDocument Versions = XDocument.Load(SourceTree.PathOf("Directory.Packages.props"));

    [Fact]
    public async Task Every_package_is_used_or_said_to_be_pinned()
    {
        var used = await ReferencedAsync();
        var unused = Packages()
            .Where(package => !used.Contains(Name(package)) && !CommentOf(package).Contains("Pinned", StringComparison.Ordinal))
            .Select(Name);

        Assert.Empty(unused);
    }

    [Fact]
    public async Task Every_referenced_package_has_its_version_in_one_place()
    {
        var known = Packages().Select(Name).ToHashSet(StringComparer.OrdinalIgnoreCase);

        var unknown = (await ReferencedAsync()).Where(name => !known.Contains(name));
        Assert.Empty(unknown);
    }

    [Fact]
    public void Every_package_says_why_by_a_comment_or_by_its_group()
    {
        Assert.All(Packages(), package => Assert.True(
            CommentOf(package).Length > 0 || package.Parent!.Attribute("Label")?.Value.Length > 0,
            $"{Name(package)} has neither a comment nor a labelled group"));
    }

    private static IEnumerable<XElement> Packages() => Versions.Descendants("PackageVersion");

    private static string Name(XElement package) => package.Attribute("Include")!.Value;

    /// <summary>The comment above a package, or above the packages right before it.</summary>
    private static string CommentOf(XElement package) =>
        package.NodesBeforeSelf().OfType<XComment>().LastOrDefault()?.Value ?? "";

    private static async Task<HashSet<string>> ReferencedAsync() =>
    [
        .. (await SourceTree.FilesAsync(CancellationToken.None))
            .Where(path => path.EndsWith(".csproj", StringComparison.Ordinal) || Path.GetFileName(path) is "Directory.Build.props" or "Directory.Build.targets")
            .SelectMany(path => XDocument.Load(SourceTree.PathOf(path)).Descendants("PackageReference"))
            .Select(Name),
    ];
}
