using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text.Json;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Qemu;

/// <summary>
/// Saves a VM by migrating it into a file. Through a Unix socket and this process: QEMU's sandbox forbids it to start a
/// helper (exec:), it may open no file itself, and what it writes is digested on the way. The socket is handed to it, for the same reason.
/// </summary>
internal static class QemuMigration
{
    private const string StreamName = "saved";

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(5);

    /// <summary>Returns the directory, which holds a whole snapshot or is not there.</summary>
    public static async Task<string> SaveAsync(
        QmpClient monitor, string runDirectory, string directory, TimeProvider time, CancellationToken cancellationToken)
    {
        if (Path.Exists(directory))
            throw new VmmException($"snapshot directory {directory} exists already; a snapshot goes into a new one");
        var partial = directory + ".partial";
        try
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
            Directory.CreateDirectory(partial);
            var saved = await WriteAsync(
                monitor, runDirectory, Path.Combine(partial, QemuDriver.SnapshotFile), withoutSharedMemory: false, time, cancellationToken).ConfigureAwait(false);
            saved.Write(partial);
            Directory.Move(partial, directory);
            return directory;
        }
        catch (Exception e) when (e is IOException or SocketException or UnauthorizedAccessException)
        {
            throw new VmmException($"snapshot {directory} could not be written: {e.Message}", e);
        }
        finally
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
        }
    }

    /// <summary>Writes what QEMU sends into a new file, and makes it durable. Pages of zeros are not in it.</summary>
    /// <param name="monitor">Of the QEMU to save, which is paused.</param>
    /// <param name="runDirectory">For the socket.</param>
    /// <param name="file">Its path.</param>
    /// <param name="withoutSharedMemory">Leaves out memory that is a shared file already (x-ignore-shared).</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancellationToken">Leaves a part of the file.</param>
    public static async Task<SavedStream> WriteAsync(
        QmpClient monitor, string runDirectory, string file, bool withoutSharedMemory, TimeProvider time, CancellationToken cancellationToken)
    {
        var socket = Path.Combine(runDirectory, QemuDriver.MigrationSocket);
        try
        {
            var (connection, theirs) = await ConnectAsync(socket, cancellationToken).ConfigureAwait(false);
            using var ours = connection;
            await using var stream = theirs.ConfigureAwait(false);
            using var stopped = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var copying = CopyAsync(ours, file, stopped.Token);
            try
            {
                await monitor.PassAsync(StreamName, theirs.Socket.SafeHandle, cancellationToken).ConfigureAwait(false);
                // Said in either case: one that began as a template was told to for its own beginning.
                await IgnoreSharedMemoryAsync(monitor, withoutSharedMemory, cancellationToken).ConfigureAwait(false);
                await MigrateAsync(monitor, time, cancellationToken).ConfigureAwait(false);
                // Shuts QEMU's end down, too: the end of the stream, behind all that was written.
                await theirs.DisposeAsync().ConfigureAwait(false);
                return await copying.ConfigureAwait(false);
            }
            catch (VmmException) when (copying.IsFaulted)
            {
                // QEMU only saw that nobody reads on; a file that could not be written says why.
                return await copying.ConfigureAwait(false);
            }
            finally
            {
                await stopped.CancelAsync().ConfigureAwait(false);
                await ((Task)copying).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        finally
        {
            File.Delete(socket);
        }
    }

    /// <summary>Has a QEMU that was started with <c>-incoming defer</c> read a VM whose memory it has mapped.</summary>
    public static async Task BeginLoadAsync(QmpClient monitor, string source, CancellationToken cancellationToken)
    {
        await IgnoreSharedMemoryAsync(monitor, true, cancellationToken).ConfigureAwait(false);
        await monitor.ExecuteAsync("migrate-incoming", writer => writer.WriteString("uri", source), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Both ends of a stream.</summary>
    private static async Task<(Socket Ours, NetworkStream Theirs)> ConnectAsync(string socket, CancellationToken cancellationToken)
    {
        using var listener = UnixListener.Create(socket);
        var theirs = await UnixListener.ConnectAsync(socket, cancellationToken).ConfigureAwait(false);
        try
        {
            return (await listener.AcceptAsync(cancellationToken).ConfigureAwait(false), theirs);
        }
        catch
        {
            await theirs.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private static async Task<SavedStream> CopyAsync(Socket connection, string path, CancellationToken cancellationToken)
    {
        using var digest = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using var target = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        var buffer = new byte[1024 * 1024];
        var length = 0L;
        int count;
        while ((count = await connection.ReceiveAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0)
        {
            digest.AppendData(buffer, 0, count);
            await target.WriteAsync(buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
            length += count;
        }
        target.Flush(flushToDisk: true);
        return new SavedStream(length, Convert.ToHexStringLower(digest.GetHashAndReset()));
    }

    private static Task IgnoreSharedMemoryAsync(QmpClient monitor, bool isIgnored, CancellationToken cancellationToken) => monitor.ExecuteAsync(
        "migrate-set-capabilities",
        writer =>
        {
            writer.WriteStartArray("capabilities");
            writer.WriteStartObject();
            writer.WriteString("capability", "x-ignore-shared");
            writer.WriteBoolean("state", isIgnored);
            writer.WriteEndObject();
            writer.WriteEndArray();
        },
        cancellationToken);

    private static async Task MigrateAsync(QmpClient monitor, TimeProvider time, CancellationToken cancellationToken)
    {
        // The default keeps to 128 MiB/s for the sake of a network.
        await monitor.ExecuteAsync(
            "migrate-set-parameters", writer => writer.WriteNumber("max-bandwidth", 1L << 40), cancellationToken).ConfigureAwait(false);
        await monitor.ExecuteAsync("migrate", writer => writer.WriteString("uri", $"fd:{StreamName}"), cancellationToken).ConfigureAwait(false);
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
