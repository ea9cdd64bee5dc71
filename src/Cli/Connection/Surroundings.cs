namespace Ravel.Cli.Connection;

/// <summary>What the process finds around itself and decisions depend on; tests make their own.</summary>
/// <param name="Variable">An environment variable, null when it is not set.</param>
/// <param name="IsRoot">Whether the caller is root.</param>
/// <param name="Home">The caller's home directory.</param>
internal sealed record Surroundings(Func<string, string?> Variable, bool IsRoot, string Home)
{
    public static Surroundings OfProcess() => new(
        Environment.GetEnvironmentVariable,
        Environment.IsPrivilegedProcess,
        Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify));

    /// <summary>A variable that is set to something.</summary>
    public string? Setting(string name) => Variable(name) is { Length: > 0 } value ? value : null;
}
