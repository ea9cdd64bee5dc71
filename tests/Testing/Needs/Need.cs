namespace Ravel.Testing.Needs;

/// <summary>
/// What a test needs from its host. A missing need skips the test with its reason on a laptop, and fails it where
/// <c>CI=true</c>: there everything has to run.
/// </summary>
public static class Need
{
    private static readonly bool IsCi = Environment.GetEnvironmentVariable("CI") == "true";

    public static void Root()
    {
        if (!Environment.IsPrivilegedProcess)
            Missing("it needs root");
    }

    /// <summary>A program in PATH or one of the system's sbin directories.</summary>
    public static void Program(string name)
    {
        if (FindProgram(name) is null)
            Missing($"it needs the program '{name}' (./dev setup installs it)");
    }

    public static void File(string path)
    {
        if (!System.IO.File.Exists(path))
            Missing($"it needs the file {path} (./dev setup or ./dev build makes it)");
    }

    /// <summary>Ends the test: skipped on a laptop, failed in CI.</summary>
    public static void Missing(string reason)
    {
        // xunit.v3 skips a test whose exception's message begins with this token.
        throw new MissingNeedException(IsCi ? $"In CI nothing may be missing, but {reason}." : $"{Xunit.v3.DynamicSkipToken.Value}{reason}");
    }

    public static string? FindProgram(string name) =>
        $"{Environment.GetEnvironmentVariable("PATH")}:/usr/sbin:/sbin"
            .Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Select(directory => Path.Combine(directory, name))
            .FirstOrDefault(System.IO.File.Exists);
}

/// <summary>A test's need is not there.</summary>
public sealed class MissingNeedException : Exception
{
    public MissingNeedException(string message)
        : base(message)
    {
    }
}
