using Ravel.Linux.Files;
using Ravel.Linux.Processes;

namespace Ravel.Integration.Linux.Files;

public sealed class FileLockTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-lock-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task A_lock_given_back_is_free_at_once_while_programs_are_started()
    {
        var started = 0;
        using var done = new CancellationTokenSource();
        var starting = Task.Run(
            async () =>
            {
                while (!done.IsCancellationRequested)
                {
                    await CommandRunner.RunAsync("true", [], cancellationToken: CancellationToken.None);
                    started++;
                }
            },
            CancellationToken.None);

        try
        {
            var path = Path.Combine(_directory, "lock");
            for (var i = 0; i < 20_000; i++)
            {
                using var held = FileLock.TryAcquire(path);
                Assert.NotNull(held);
            }
        }
        finally
        {
            await done.CancelAsync();
            await starting;
        }
        Assert.True(started > 0);
    }
}
