using System.Runtime.ExceptionServices;
using Ravel.Cli.Errors;

namespace Ravel.Cli.Parsing;

/// <summary>
/// One thing done to each of several. As with docker, one that fails does not keep the others from it: its error is printed, and the
/// exit code says so.
/// </summary>
internal static class Several
{
    /// <param name="session">The invocation.</param>
    /// <param name="of">What was typed, or what stands for it.</param>
    /// <param name="act">Does it to one.</param>
    /// <param name="conclude">Prints what is only printed once all are done, whether one failed or not.</param>
    /// <returns>0.</returns>
    /// <exception cref="CliException">The last of the failures; those before it have been printed.</exception>
    public static async Task<int> ForEachAsync<T>(this Session session, IEnumerable<T> of, Func<T, Task> act, Action? conclude = null)
    {
        CliException? failure = null;
        foreach (var one in of)
        {
            try
            {
                await act(one);
                session.Terminal.Flush();
            }
            catch (CliException e)
            {
                if (failure is not null)
                    session.Terminal.Error.WriteLine(failure.Line);
                failure = e;
            }
        }
        conclude?.Invoke();
        session.Terminal.Flush();
        if (failure is not null)
            ExceptionDispatchInfo.Throw(failure);
        return 0;
    }
}
