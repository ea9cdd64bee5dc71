using Ravel.Cli.Connection;
using Ravel.Cli.Errors;

namespace Ravel.Cli.Daemon;

/// <summary>Finds <c>raveld</c>: <c>RAVELD</c>, then next to this program, then in <c>PATH</c>.</summary>
internal static class DaemonBinary
{
    private const string Name = "raveld";

    public static string Find(Surroundings around) => Find(around, Environment.ProcessPath, File.Exists);

    public static string Find(Surroundings around, string? self, Func<string, bool> exists)
    {
        if (around.Setting("RAVELD") is { } configured)
        {
            return exists(configured)
                ? Path.GetFullPath(configured)
                : throw new CliException("raveld", $"RAVELD names {configured}, which does not exist", "set it to the file, or unset it");
        }
        IEnumerable<string> directories = [
            .. self is null ? [] : new[] { Path.GetDirectoryName(self) ?? "/" },
            .. (around.Setting("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries),
        ];
        return directories.Select(directory => Path.Combine(directory, Name)).FirstOrDefault(exists)
            ?? throw new CliException("raveld", "is neither next to ravel nor in PATH", "install it there, or set RAVELD to the file");
    }
}
