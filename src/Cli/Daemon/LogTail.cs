using System.Text;

namespace Ravel.Cli.Daemon;

/// <summary>Reads the daemon's log file.</summary>
internal static class LogTail
{
    private const int LastBytes = 16 * 1024;
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(200);

    /// <summary>The last line written since <paramref name="start"/>; null when there is none.</summary>
    public static string? LastLine(string path, long start)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            file.Position = Math.Max(start, file.Length - LastBytes);
            using var reader = new StreamReader(file);
            return reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Copies what is appended after <paramref name="start"/> until cancelled, then what is left.</summary>
    public static async Task FollowAsync(string path, long start, TextWriter to, TimeProvider time, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        file.Position = Math.Min(start, file.Length);
        var decoder = Encoding.UTF8.GetDecoder();
        var bytes = new byte[8192];
        var chars = new char[8192];
        while (true)
        {
            var isLast = cancellationToken.IsCancellationRequested;
            int read;
            while ((read = await file.ReadAsync(bytes, CancellationToken.None)) > 0)
            {
                var count = decoder.GetChars(bytes, 0, read, chars, 0);
                to.Write(chars, 0, count);
            }
            if (isLast)
                return;
            await Task.WhenAny(Task.Delay(Interval, time, cancellationToken));
        }
    }
}
