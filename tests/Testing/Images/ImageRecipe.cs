using System.Security.Cryptography;
using System.Text;
using Ravel.Linux.Processes;

namespace Ravel.Testing.Images;

/// <summary>
/// How a test image of real software comes to be: Debian packages unpacked into a tree (no debootstrap, no
/// maintainer scripts), arranged, and packed by umoci or another tool. Needs root, so that files keep their owners.
/// </summary>
/// <param name="Name">Of the image, and of its place in the cache.</param>
/// <param name="Revision">Raised when <paramref name="Arrange"/> changes what it does; the rest is in the cache key by itself.</param>
/// <param name="Packages">Debian packages, dependencies included.</param>
/// <param name="Arrange">Completes the tree; the path of its root is given.</param>
/// <param name="Config">Arguments of <c>umoci config</c>.</param>
/// <param name="Layers">Adds further layers to the finished first one, with umoci.</param>
public sealed record ImageRecipe(
    string Name,
    int Revision,
    IReadOnlyList<string> Packages,
    Func<string, CancellationToken, Task> Arrange,
    IReadOnlyList<string> Config,
    Func<OciLayout, string, CancellationToken, Task>? Layers = null)
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);

    /// <summary>Makes the image of the finished tree in place of umoci: gets the tree, the layout to write and a scratch directory.</summary>
    public Func<string, OciLayout, string, CancellationToken, Task>? Pack { get; init; }

    /// <summary>The image, from <c>artifacts/cache</c> or built into it. Safe when several processes ask at once.</summary>
    public async Task<OciLayout> BuildAsync(CancellationToken cancellationToken = default)
    {
        var packages = await ResolveAsync(Name, Packages, cancellationToken);
        var key = Key(packages);
        var place = Path.Combine(Cache, "images", $"{Name}-{key}");
        var layout = new OciLayout(Path.Combine(place, "layout"));
        if (Directory.Exists(place))
            return layout;

        var work = Path.Combine(Cache, "work", $"{Name}-{Environment.ProcessId}-{Random.Shared.Next():x8}");
        Directory.CreateDirectory(work);
        try
        {
            await BuildInAsync(work, packages, cancellationToken);
            Directory.CreateDirectory(Path.GetDirectoryName(place)!);
            try
            {
                Directory.Move(work, place);
            }
            catch (IOException) when (Directory.Exists(place))
            {
                // Another process built the same one first; both are good.
            }
        }
        finally
        {
            await DeleteAsync(work);
        }
        return layout;
    }

    /// <summary>Unpacks one package into a tree, for recipes with layers of their own.</summary>
    public static async Task UnpackAsync(string package, string root, CancellationToken cancellationToken)
    {
        foreach (var file in await DownloadAsync(await ResolveAsync(package, [package], cancellationToken), cancellationToken))
            await RunAsync("dpkg", ["-x", file, root], cancellationToken);
    }

    /// <summary>Deletes a tree whose names need not be text, which .NET cannot.</summary>
    public static Task DeleteAsync(string path) => RunAsync("rm", ["-rf", "--", path], CancellationToken.None);

    private static string Cache => Path.Combine(RepositoryRoot.Path, "artifacts", "cache");

    private async Task BuildInAsync(string work, IReadOnlyList<Package> packages, CancellationToken cancellationToken)
    {
        var root = Path.Combine(work, "root");
        Directory.CreateDirectory(root);
        File.SetUnixFileMode(root, (UnixFileMode)Convert.ToInt32("755", 8));
        foreach (var file in await DownloadAsync(packages, cancellationToken))
            await RunAsync("dpkg", ["-x", file, root], cancellationToken);
        await Arrange(root, cancellationToken);

        var image = new OciLayout(Path.Combine(work, "layout"));
        var scratch = Path.Combine(work, "scratch");
        Directory.CreateDirectory(scratch);
        if (Pack is not null)
        {
            await Pack(root, image, scratch, cancellationToken);
        }
        else
        {
            await PackWithUmociAsync(root, image, cancellationToken);
            if (Layers is not null)
                await Layers(image, scratch, cancellationToken);
            await RunAsync("umoci", ["gc", "--layout", image.Directory], cancellationToken);
        }
        await DeleteAsync(scratch);
        await DeleteAsync(root);
    }

    private async Task PackWithUmociAsync(string root, OciLayout image, CancellationToken cancellationToken)
    {
        await RunAsync("umoci", ["init", "--layout", image.Directory], cancellationToken);
        var name = $"{image.Directory}:{image.Tag}";
        await RunAsync("umoci", ["new", "--image", name], cancellationToken);
        await RunAsync("umoci", ["insert", "--image", name, root, "/"], cancellationToken);
        await RunAsync("umoci", ["config", "--image", name, .. Config], cancellationToken);
    }

    private string Key(IReadOnlyList<Package> packages)
    {
        var text = string.Join('\n', [Name, $"{Revision}", .. packages.Select(p => p.FileName), .. Config]);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..16];
    }

    private static async Task<IReadOnlyList<Package>> ResolveAsync(
        string name, IReadOnlyList<string> packages, CancellationToken cancellationToken)
    {
        if (packages.Count == 0)
            return [];
        var lines = await RunAsync("apt-get", ["download", "--print-uris", .. packages], cancellationToken);
        var found = lines.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Where(line => line.StartsWith('\''))
            .Select(line => new Package(line.Split(' ')[1]))
            .ToList();
        if (found.Count != packages.Count)
            throw new CommandException($"apt-get knows {found.Count} of the {packages.Count} packages of {name}; run apt-get update.");
        return found;
    }

    /// <summary>The packages' files, in their order; what is missing is downloaded by one call, because each costs apt a start.</summary>
    private static async Task<IReadOnlyList<string>> DownloadAsync(IReadOnlyList<Package> packages, CancellationToken cancellationToken)
    {
        var directory = Path.Combine(Cache, "debs");
        var missing = packages.Where(package => !File.Exists(Path.Combine(directory, package.FileName))).ToList();
        if (missing.Count > 0)
        {
            var incoming = Path.Combine(directory, $"incoming-{Environment.ProcessId}-{Random.Shared.Next():x8}");
            Directory.CreateDirectory(incoming);
            try
            {
                await RunAsync(
                    "/bin/sh",
                    ["-c", "cd \"$1\" && shift && apt-get -q -o APT::Sandbox::User=root download \"$@\"", "sh", incoming, .. missing.Select(package => package.Specification)],
                    cancellationToken);
                foreach (var package in missing)
                    File.Move(Path.Combine(incoming, package.FileName), Path.Combine(directory, package.FileName), overwrite: true);
            }
            finally
            {
                Directory.Delete(incoming, recursive: true);
            }
        }
        return [.. packages.Select(package => Path.Combine(directory, package.FileName))];
    }

    private static Task<string> RunAsync(string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken) =>
        CommandRunner.RunCheckedAsync(program, arguments, timeout: Patience, cancellationToken: cancellationToken);

    /// <summary>By its file: <c>zlib1g_1%3a1.2.13.dfsg-1_amd64.deb</c>.</summary>
    private sealed record Package(string FileName)
    {
        public string Specification
        {
            get
            {
                var parts = FileName.Split('_');
                return $"{parts[0]}={Uri.UnescapeDataString(parts[1])}";
            }
        }
    }
}
