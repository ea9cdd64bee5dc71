namespace Ravel.Daemon;

/// <summary>
/// The runtime opens sockets and pipes for debuggers in the temporary directory when it starts, and takes them away when it ends, unless it is
/// killed. No setting of the program turns that off, only <c>DOTNET_EnableDiagnostics=0</c> in its environment
/// (.NET runtime configuration, "Enable diagnostics"), so they are taken away at once, unless that variable asks for them.
/// </summary>
internal static class DiagnosticSockets
{
    public static void Remove(Func<string, string?> environment, string temporaryDirectory, int processId)
    {
        if (environment("DOTNET_EnableDiagnostics") is not null)
            return;
        foreach (var name in (string[])["dotnet-diagnostic", "clr-debug-pipe"])
        {
            foreach (var path in Directory.EnumerateFileSystemEntries(temporaryDirectory, FormattableString.Invariant($"{name}-{processId}-*")))
                TryDelete(path);
        }
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Nobody is worse off than without this.
        }
    }
}
