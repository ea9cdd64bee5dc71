using System.Net.Sockets;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>
/// Where the guest's vsock connections arrive (docs/vsock.md, "Guest-Initiated Connections"). A guest without a listener is
/// refused and dials again, so the socket may be replaced at any time by whoever adopts the VM.
/// </summary>
internal sealed class VsockListener : IDisposable
{
    private readonly Socket _socket;

    private VsockListener(Socket socket) => _socket = socket;

    public static VsockListener Create(VmPlace place)
    {
        var socket = UnixListener.Create(Path.Combine(place.Own, VmFiles.LinkSocket));
        try
        {
            place.Give(VmFiles.LinkSocket);
            return new VsockListener(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>The guest's newest connection; older ones that nobody took are what it has given up.</summary>
    public async Task<Stream> AcceptAsync(CancellationToken cancellationToken)
    {
        var connection = await _socket.AcceptAsync(cancellationToken).ConfigureAwait(false);
        while (_socket.Poll(0, SelectMode.SelectRead))
        {
            connection.Dispose();
            connection = await _socket.AcceptAsync(cancellationToken).ConfigureAwait(false);
        }
        return new NetworkStream(connection, ownsSocket: true);
    }

    public void Dispose() => _socket.Dispose();
}
