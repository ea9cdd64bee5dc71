using System.Net;
using System.Net.Http.Headers;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

internal sealed partial class ApiClient
{
    /// <summary>A file or tree of a machine as a tar archive; the caller disposes it.</summary>
    public async Task<Stream> ReadArchiveAsync(Machine machine, string path, CancellationToken cancellationToken)
    {
        var response = await SendAsync(
            machine.Name, HttpMethod.Get, $"{PathOf(machine)}/archive?path={Uri.EscapeDataString(path)}", null, cancellationToken);
        return new ServerBytes(await response.Content.ReadAsStreamAsync(cancellationToken), machine.Name);
    }

    /// <summary>Unpacks a tar archive in a machine.</summary>
    /// <param name="machine">Which.</param>
    /// <param name="path">Where.</param>
    /// <param name="top">The archive's one top entry, put where cp would put it; null: <paramref name="path"/> is a directory.</param>
    /// <param name="write">Writes the archive.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task WriteArchiveAsync(
        Machine machine, string path, string? top, Func<Stream, CancellationToken, Task> write, CancellationToken cancellationToken)
    {
        using var content = new ArchiveContent(write);
        var query = $"path={Uri.EscapeDataString(path)}{(top is null ? "" : $"&top={Uri.EscapeDataString(top)}")}";
        try
        {
            await CallAsync(machine.Name, HttpMethod.Put, $"{PathOf(machine)}/archive?{query}", content, cancellationToken);
        }
        catch (Exception) when (content.Failure is not null)
        {
            // The connection broke because there was no more to send.
            throw content.Failure;
        }
    }

    /// <summary>A body of unknown length that is written when it is sent.</summary>
    private sealed class ArchiveContent : HttpContent
    {
        private readonly Func<Stream, CancellationToken, Task> _write;

        public ArchiveContent(Func<Stream, CancellationToken, Task> write)
        {
            _write = write;
            Headers.ContentType = new MediaTypeHeaderValue("application/x-tar");
        }

        /// <summary>Why the archive could not be written, when that was the cause.</summary>
        public Errors.CliException? Failure { get; private set; }

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            try
            {
                // Not disposed: that would close the request in the middle.
#pragma warning disable CA2000
                var buffered = new BufferedStream(stream, 128 * 1024);
#pragma warning restore CA2000
                await _write(buffered, cancellationToken);
                await buffered.FlushAsync(cancellationToken);
            }
            catch (Errors.CliException e)
            {
                Failure = e;
                throw;
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
