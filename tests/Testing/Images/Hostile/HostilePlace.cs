using System.Security.Cryptography;
using Xunit;

namespace Ravel.Testing.Images.Hostile;

/// <summary>A directory with a hostile image in it, and with things beside it that nothing may touch.</summary>
public sealed class HostilePlace : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("ravel-hostile-").FullName;
    private readonly string _before;

    public HostilePlace(Action<string, string> write)
    {
        Layout = Directory.CreateDirectory(Path.Combine(_root, "layout")).FullName;
        Output = Directory.CreateDirectory(Path.Combine(_root, "output")).FullName;
        var canary = Directory.CreateDirectory(Path.Combine(_root, "canary")).FullName;
        File.WriteAllText(Path.Combine(canary, "file"), "not yours");
        Directory.CreateDirectory(Path.Combine(canary, "directory"));
        write(Layout, canary);
        _before = Surroundings();
    }

    /// <summary>The OCI layout.</summary>
    public string Layout { get; }

    /// <summary>An empty directory for what is made of it.</summary>
    public string Output { get; }

    public OciLayout Image => new(Layout);

    /// <summary>Everything but the output is as it was.</summary>
    public void AssertUntouched() => Assert.Equal(_before, Surroundings());

    /// <summary>A refusal is typed, is one line, and says of which image and why.</summary>
    public static void AssertRefused(HostileImage image, string code, string message, string name)
    {
        Assert.Contains(code, image.Codes);
        Assert.Contains(image.Words!, message);
        Assert.Contains(name, message);
        Assert.DoesNotContain(message, char.IsControl);
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private string Surroundings() => string.Join(
        '\n',
        Directory.EnumerateFileSystemEntries(_root, "*", SearchOption.AllDirectories)
            .Where(path => !path.StartsWith(Output, StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(path => $"{path} {File.GetUnixFileMode(path)} {File.GetLastWriteTimeUtc(path).Ticks} {(File.Exists(path) ? Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(path))) : "")}"));
}
