using System.IO.Pipelines;
using Ravel.Vmm.Fake;

namespace Ravel.Testing.Link;

/// <summary>
/// A virtio-serial port: hosts come and go, the guest's end stays and does not notice, and what one host wrote but the guest
/// had not read (or the other way round) is still there for the next: the lossy channel of the link.
/// </summary>
public sealed class FakeSerialPort
{
    private readonly Pipe _toGuest;
    private readonly Pipe _toHost;

    public FakeSerialPort(int capacity = 16 * 1024)
    {
        _toGuest = DuplexPipe.NewPipe(capacity);
        _toHost = DuplexPipe.NewPipe(capacity);
        Guest = new PipeEnd(_toGuest.Reader, _toHost.Writer, closesPipes: false);
    }

    public Stream Guest { get; }

    /// <summary>A new host's connection. The one before must have been disposed.</summary>
    public Stream ConnectHost() => new PipeEnd(_toHost.Reader, _toGuest.Writer, closesPipes: false);

    /// <summary>While no host is connected: throws away what the guest has written, as QEMU may.</summary>
    public void LoseOutput()
    {
        while (_toHost.Reader.TryRead(out var result))
        {
            var isEmpty = result.Buffer.IsEmpty;
            _toHost.Reader.AdvanceTo(result.Buffer.End);
            if (isEmpty)
                return;
        }
    }
}
