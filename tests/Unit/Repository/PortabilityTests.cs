using System.Text.RegularExpressions;
using Ravel.Testing.Repository;

namespace Ravel.Unit.Repository;

/// <summary>Nothing of the machine a change was made on gets into the repository.</summary>
public sealed partial class PortabilityTests
{
    /// <summary>Package sources that everybody reaches.</summary>
    private static readonly string[] PublicSources =
        ["api.nuget.org", "deb.debian.org", "security.debian.org", "snapshot.debian.org", "www.nuget.org", "www.debian.org", "pypi.org", "github.com"];

    [Fact]
    public async Task No_file_names_the_directory_it_was_written_in()
    {
        Assert.Empty(await FilesWithAsync([SourceTree.Root + "/"]));
    }

    [Fact]
    public async Task No_file_names_this_machines_package_sources()
    {
        string[] settings =
        [
            Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget/NuGet/NuGet.Config"),
            "/etc/apt/sources.list",
            .. Directory.Exists("/etc/apt/sources.list.d") ? Directory.GetFiles("/etc/apt/sources.list.d") : [],
        ];
        var hosts = settings.Where(File.Exists)
            .SelectMany(path => UrlHost().Matches(File.ReadAllText(path)).Select(match => match.Groups[1].Value))
            .Except(PublicSources)
            .Where(host => host != "localhost" && host.Contains('.', StringComparison.Ordinal))
            .ToList();

        Assert.Empty(await FilesWithAsync(hosts));
    }

    [Fact]
    public async Task No_package_source_is_set_in_the_repository()
    {
        var settings = (await SourceTree.FilesAsync(CancellationToken.None))
            .Where(path => Path.GetFileName(path).Equals("nuget.config", StringComparison.OrdinalIgnoreCase));
        Assert.Empty(settings);
    }

    private static async Task<IReadOnlyList<string>> FilesWithAsync(IReadOnlyList<string> words)
    {
        var found = new List<string>();
        foreach (var path in await SourceTree.FilesAsync(CancellationToken.None))
        {
            var text = await File.ReadAllTextAsync(SourceTree.PathOf(path));
            found.AddRange(words.Where(word => text.Contains(word, StringComparison.Ordinal)).Select(word => $"{path}: {word}"));
        }
        return found;
    }

    [GeneratedRegex("""https?://([\w.-]+)""")]
    private static partial Regex UrlHost();
}
