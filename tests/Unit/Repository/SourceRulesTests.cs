using System.Text.RegularExpressions;
using Ravel.Testing.Repository;

namespace Ravel.Unit.Repository;

/// <summary>Rules of the source that no analyzer knows.</summary>
public sealed partial class SourceRulesTests
{
    private const int MaxLines = 600;
    private const int MaxRootEntries = 19;

    private static readonly string[] EmptyNames = ["Manager", "Helper", "Helpers", "Utils", "Util", "Common", "Core"];

    /// <summary>Where system calls may stand: the one library for them, and PID 1 of the guest.</summary>
    private static readonly string[] SystemCallProjects = ["src/Linux/", "src/GuestInit/"];

    [Fact]
    public async Task The_root_stays_small_enough_to_take_in_at_a_glance()
    {
        var entries = (await FilesAsync()).Select(path => path.Split('/')[0]).Distinct().ToList();

        Assert.True(entries.Count <= MaxRootEntries, $"{entries.Count} entries in the root: {string.Join(' ', entries)}");
    }

    [Fact]
    public async Task No_source_file_is_longer_than_600_lines()
    {
        var tooLong = (await FilesAsync())
            .Where(IsHandWritten)
            .Select(path => (Path: path, Lines: File.ReadLines(SourceTree.PathOf(path)).Count()))
            .Where(file => file.Lines > MaxLines)
            .Select(file => $"{file.Path}: {file.Lines} lines");

        Assert.Empty(tooLong);
    }

    [Fact]
    public async Task No_file_directory_or_type_has_a_name_that_says_nothing()
    {
        var found = new List<string>();
        foreach (var path in await FilesAsync())
        {
            found.AddRange(path.Split('/').Where(part => HasEmptyName(part.Split('.')[0])).Select(_ => path));
            if (IsHandWrittenCSharp(path))
            {
                found.AddRange(
                    TypeDeclaration().Matches(Code(path)).Select(match => match.Groups[1].Value)
                        .Where(HasEmptyName).Select(name => $"{path}: {name}"));
            }
        }

        Assert.Empty(found);
    }

    [Theory]
    [InlineData("InstanceManager", true)]
    [InlineData("utils", true)]
    [InlineData("CoreDump", true)]
    [InlineData("Score", false)]
    [InlineData("AspNetcore", false)]
    [InlineData("Managerial", false)]
    public void A_name_is_judged_by_its_words(string name, bool refused) => Assert.Equal(refused, HasEmptyName(name));

    [Fact]
    public async Task System_calls_and_unsafe_code_stay_in_their_projects()
    {
        var found = (await FilesAsync())
            .Where(path => path.StartsWith("src/", StringComparison.Ordinal) && IsHandWrittenCSharp(path))
            .Where(path => !SystemCallProjects.Any(project => path.StartsWith(project, StringComparison.Ordinal)))
            .SelectMany(path => SystemCall().Matches(Code(path)).Select(match => $"{path}: {match.Value}"));

        Assert.Empty(found);
    }

    [Fact]
    public async Task Every_namespace_is_file_scoped_and_follows_its_project()
    {
        var wrong = (await FilesAsync())
            .Where(IsHandWrittenCSharp)
            .Select(path => (Path: path, Match: NamespaceDeclaration().Match(Code(path))))
            .Where(file => file.Match.Success && !file.Match.Groups[1].Value.StartsWith("Ravel." + ProjectName(file.Path), StringComparison.Ordinal))
            .Select(file => $"{file.Path}: {file.Match.Groups[1].Value}");

        Assert.Empty(wrong);
    }

    private static Task<IReadOnlyList<string>> FilesAsync() => SourceTree.FilesAsync(CancellationToken.None);

    private static string ProjectName(string path) => path.StartsWith("bench/", StringComparison.Ordinal) ? "Bench" : path.Split('/')[1];

    private static bool IsHandWrittenCSharp(string path) => path.EndsWith(".cs", StringComparison.Ordinal) && IsHandWritten(path);

    private static bool IsHandWritten(string path) =>
        (path.EndsWith(".cs", StringComparison.Ordinal) || path.EndsWith(".sh", StringComparison.Ordinal)
            || path.StartsWith("scripts/", StringComparison.Ordinal) || path is "dev" or ".ci/run")
        && !path.Contains("/Migrations/", StringComparison.Ordinal);

    private static bool HasEmptyName(string name) =>
        Word().Matches(name).Any(word => EmptyNames.Contains(word.Value, StringComparer.OrdinalIgnoreCase));

    /// <summary>The file without comments and string literals, roughly: enough for the words looked for here.</summary>
    private static string Code(string path) => CommentOrString().Replace(File.ReadAllText(SourceTree.PathOf(path)), "\"\"");

    [GeneratedRegex("""[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])""")]
    private static partial Regex Word();

    [GeneratedRegex("""\b(?:class|struct|interface|enum|record)\s+(?:class\s+|struct\s+)?([A-Z]\w*)""")]
    private static partial Regex TypeDeclaration();

    [GeneratedRegex("""\[DllImport|\[LibraryImport|\bunsafe\b|\bstackalloc\s+\w+\s*\*""")]
    private static partial Regex SystemCall();

    [GeneratedRegex("""^namespace\s+([\w.]+)""", RegexOptions.Multiline)]
    private static partial Regex NamespaceDeclaration();

    [GeneratedRegex("\"\"\"+.*?\"\"\"+|@\"(?:[^\"]|\"\")*\"|\"(?:[^\"\\\\\\n]|\\\\.)*\"|//[^\\n]*|/\\*.*?\\*/", RegexOptions.Singleline)]
    private static partial Regex CommentOrString();
}
