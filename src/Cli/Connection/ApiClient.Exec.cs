using System.Net;
using System.Net.WebSockets;
using Ravel.Cli.Errors;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

internal sealed partial class ApiClient
{
    /// <summary>Opens the exec WebSocket of a machine. The first message is the caller's.</summary>
    public Task<WebSocket> OpenExecAsync(Machine machine, CancellationToken cancellationToken) => OpenAsync(machine, "exec", cancellationToken);

    /// <summary>Opens the WebSocket to the standard input of a machine's workload.</summary>
    public Task<WebSocket> OpenAttachAsync(Machine machine, CancellationToken cancellationToken) => OpenAsync(machine, "attach", cancellationToken);

    private async Task<WebSocket> OpenAsync(Machine machine, string what, CancellationToken cancellationToken)
    {
        var url = new UriBuilder(new Uri(_address.Url, InNamespace($"{PathOf(machine)}/{what}")))
        {
            Scheme = _address.Url.Scheme == "https" ? "wss" : "ws",
        }.Uri;
        var socket = new ClientWebSocket();
        socket.Options.HttpVersion = HttpVersion.Version11;
        socket.Options.KeepAliveInterval = TimeSpan.FromSeconds(20);
        if (_address.Token is not null)
            socket.Options.SetRequestHeader("Authorization", $"Bearer {_address.Token}");
        // The socket only knows that it was refused; the handler sees why.
        using var handler = new RefusalReader(_handler);
        using var invoker = new HttpMessageInvoker(handler, disposeHandler: false);
        try
        {
            await socket.ConnectAsync(url, invoker, cancellationToken);
            return socket;
        }
        catch (WebSocketException e)
        {
            socket.Dispose();
            if (handler.Refusal is { } refusal)
                throw new ProblemException(machine.Name, refusal);
            throw e.InnerException is HttpRequestException inner
                ? Unreachable(inner)
                : new CliException(machine.Name, $"{what} could not be opened ({e.Message.TrimEnd('.')})", "see: ravel doctor");
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Keeps the problem document of an upgrade that was refused.</summary>
    private sealed class RefusalReader(HttpMessageHandler inner) : DelegatingHandler(new Undisposed(inner))
    {
        public Problem? Refusal { get; private set; }

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var response = await base.SendAsync(request, cancellationToken);
            if (response.StatusCode != HttpStatusCode.SwitchingProtocols)
                Refusal = await ReadProblemAsync(response, cancellationToken);
            return response;
        }
    }

    /// <summary>Lends a handler to one that would dispose it.</summary>
    private sealed class Undisposed(HttpMessageHandler inner) : HttpMessageHandler
    {
        private readonly HttpMessageInvoker _inner = new(inner, disposeHandler: false);

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            _inner.SendAsync(request, cancellationToken);
    }
}
