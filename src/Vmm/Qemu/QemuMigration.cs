using System.Net.Sockets;
using System.Text.Json;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Qemu;

/// <summary>
/// Saves a VM by migrating it into a file. Through a Unix socket and this process: QEMU's sandbox forbids it to start a
/// helper (exec:), and writing to a file itself (file:) came with QEMU 8.2.
/// </summary>
internal static class QemuMigration
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(10);

    /// <summary>Returns the directory, which holds a whole snapshot or is not there.</summary>
    public static async Task<string> SaveAsync(
        QmpClient monitor, string runDirectory, string directory, TimeProvider time, CancellationToken cancellationToken)
    {
        if (Path.Exists(directory))
            throw new VmmException($"snapshot directory {directory} exists already; a snapshot goes into a new one");
        var partial = directory + ".partial";
        var socket = Path.Combine(runDirectory, QemuDriver.MigrationSocket);
        try
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
            Directory.CreateDirectory(partial);
            using (var listener = UnixListener.Create(socket))
            {
                var file = Path.Combine(partial, QemuDriver.SnapshotFile);
                using var stopped = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                var copying = CopyAsync(listener, file, stopped.Token);
                try
                {
                    await MigrateAsync(monitor, socket, time, cancellationToken).ConfigureAwait(false);
                    await copying.ConfigureAwait(false);
                }
                finally
                {
                    await stopped.CancelAsync().ConfigureAwait(false);
                    await copying.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
            }
            Directory.Move(partial, directory);
            return directory;
        }
        catch (Exception e) when (e is IOException or SocketException or UnauthorizedAccessException)
        {
            throw new VmmException($"snapshot {directory} could not be written: {e.Message}", e);
        }
        finally
        {
            File.Delete(socket);
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
        }
    }

    private static async Task CopyAsync(Socket listener, string path, CancellationToken cancellationToken)
    {
        using var connection = await listener.AcceptAsync(cancellationToken).ConfigureAwait(false);
        await using var source = new NetworkStream(connection, ownsSocket: false);
        await using var target = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        await source.CopyToAsync(target, 1024 * 1024, cancellationToken).ConfigureAwait(false);
        target.Flush(flushToDisk: true);
    }

    private static async Task MigrateAsync(QmpClient monitor, string socket, TimeProvider time, CancellationToken cancellationToken)
    {
        // The default keeps to 128 MiB/s for the sake of a network.
        await monitor.ExecuteAsync(
            "migrate-set-parameters", writer => writer.WriteNumber("max-bandwidth", 1L << 40), cancellationToken).ConfigureAwait(false);
        await monitor.ExecuteAsync("migrate", writer => writer.WriteString("uri", $"unix:{socket}"), cancellationToken).ConfigureAwait(false);
        while (true)
        {
            var answer = await monitor.ExecuteAsync("query-migrate", null, cancellationToken).ConfigureAwait(false);
            var status = Text(answer, "status");
            if (status == "completed")
                return;
            if (status is "failed" or "cancelled")
                throw new VmmException($"QEMU could not save the VM: {status} {Text(answer, "error-desc")}");
            await Task.Delay(Poll, time, cancellationToken).ConfigureAwait(false);
        }
    }

    private static string Text(JsonElement element, string property) =>
        element.TryGetProperty(property, out var value) ? value.GetString() ?? "" : "";
}
