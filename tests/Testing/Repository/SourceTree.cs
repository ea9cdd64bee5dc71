using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Testing.Repository;

/// <summary>The working copy the tests were built from.</summary>
public static class SourceTree
{
    public static string Root => RepositoryRoot.Path;

    /// <summary>The absolute path of something in it.</summary>
    public static string PathOf(string relative) => Path.Combine(Root, relative);

    /// <summary>Every file under version control that still exists, and every new one that is not ignored; relative, sorted.</summary>
    public static async Task<IReadOnlyList<string>> FilesAsync(CancellationToken cancellationToken)
    {
        // safe.directory: the checkout may be another user's, as under sudo or in a container.
        var output = await CommandRunner.RunCheckedAsync(
            "git",
            ["-c", "safe.directory=*", "-C", Root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cancellationToken: cancellationToken);
        return
        [
            .. output.Split('\0', StringSplitOptions.RemoveEmptyEntries)
                .Distinct(StringComparer.Ordinal)
                .Where(path => File.Exists(PathOf(path)))
                .Order(StringComparer.Ordinal),
        ];
    }
}
