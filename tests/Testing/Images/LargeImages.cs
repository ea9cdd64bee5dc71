using Ravel.Linux.Processes;

namespace Ravel.Testing.Images;

/// <summary>Images that take a while: for benches, and for tests of what only shows at size.</summary>
public static class LargeImages
{
    private const int SmallFiles = 60_000;
    private const int FilesPerDirectory = 200;

    /// <summary>One layer of well over 400 MB of real software: a Java runtime, LLVM, an office suite's core, a compiler, a database.</summary>
    public static ImageRecipe OneLayer { get; } = new(
        "large",
        Revision: 1,
        [
            "busybox-static", "gcc-12", "libllvm14", "libpython3.11-stdlib", "libreoffice-core", "openjdk-17-jre-headless",
            "perl-modules-5.36", "postgresql-15", "vim-runtime",
        ],
        (_, _) => Task.CompletedTask,
        ["--config.cmd", "sh"]);

    /// <summary>Over 60,000 files of 0 to 12 KB in one layer.</summary>
    public static ImageRecipe ManyFiles { get; } = new(
        "many-files",
        Revision: 1,
        ["busybox-static"],
        ArrangeManyFilesAsync,
        ["--config.cmd", "sh"]);

    /// <summary>25 layers: a package each, some twice, with replaced files and whiteouts.</summary>
    public static ImageRecipe ManyLayers { get; } = new(
        "many-layers",
        Revision: 1,
        ["busybox-static"],
        (_, _) => Task.CompletedTask,
        ["--config.cmd", "sh"],
        AddManyLayersAsync);

    private static async Task ArrangeManyFilesAsync(string root, CancellationToken cancellationToken)
    {
        // Compressible like text, and the same every time.
        var random = new Random(42);
        var words = Enumerable.Range(0, 2000).Select(_ => $"{random.Next():x} ").ToArray();
        for (var i = 0; i < SmallFiles; i++)
        {
            var directory = $"{root}/srv/files/{i / FilesPerDirectory / 20:d3}/{i / FilesPerDirectory:d4}";
            if (i % FilesPerDirectory == 0)
                Directory.CreateDirectory(directory);
            var text = string.Concat(Enumerable.Range(0, random.Next(1400)).Select(_ => words[random.Next(words.Length)]));
            await File.WriteAllTextAsync($"{directory}/file-{i:d5}.txt", text, cancellationToken);
        }
    }

    private static async Task AddManyLayersAsync(OciLayout image, string scratch, CancellationToken cancellationToken)
    {
        string[] packages =
        [
            "libpython3.11-stdlib", "perl-modules-5.36", "vim-runtime", "libssl3", "libc6", "nginx", "nginx-common", "zlib1g",
            "libpcre2-8-0", "postgresql-15", "gcc-12", "libllvm14",
        ];
        var name = $"{image.Directory}:{image.Tag}";
        for (var round = 0; round < 2; round++)
        {
            foreach (var package in packages)
            {
                var directory = Path.Combine(scratch, $"{package}-{round}");
                Directory.CreateDirectory(directory);
                await ImageRecipe.UnpackAsync(package, directory, cancellationToken);
                await CommandRunner.RunCheckedAsync(
                    "umoci", ["insert", "--image", name, directory, round == 0 ? "/" : "/copy"],
                    timeout: TimeSpan.FromMinutes(5), cancellationToken: cancellationToken);
                Directory.Delete(directory, recursive: true);
            }
        }
        await CommandRunner.RunCheckedAsync(
            "umoci", ["insert", "--image", name, "--whiteout", "/usr/share/vim"], timeout: TimeSpan.FromMinutes(5), cancellationToken: cancellationToken);
    }
}
