namespace Ravel.Bench;

/// <summary>Something the bench program does, by name.</summary>
/// <param name="Name">As typed.</param>
/// <param name="Arguments">What follows the name, for the help.</param>
/// <param name="Summary">One line for the help.</param>
/// <param name="RunAsync">Takes the arguments and returns the exit code.</param>
internal sealed record BenchCommand(
    string Name,
    string Arguments,
    string Summary,
    Func<IReadOnlyList<string>, CancellationToken, Task<int>> RunAsync);

/// <summary>Arguments that make no sense; the message says which.</summary>
internal sealed class BenchUsageException : Exception
{
    public BenchUsageException(string message)
        : base(message)
    {
    }
}
