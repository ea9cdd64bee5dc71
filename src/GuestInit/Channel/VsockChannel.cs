using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Channel;

/// <summary>A connection the guest dials over vsock, again and again until somebody listens.</summary>
internal sealed class VsockChannel : HostChannel
{
    private bool _isConnecting;

    public VsockChannel(GuestLink link)
        : base(link)
    {
    }

    public override string Name => $"vsock port {LinkProtocol.VsockPort} of the host";

    protected override bool IsConnecting => _isConnecting;

    protected override bool SurvivesViolation => false;

    protected override bool TryPrepare()
    {
        if (Descriptor >= 0)
            return true;
        Descriptor = Math.Max(-1, VirtualSocket.StartConnect(LinkProtocol.VsockPort));
        _isConnecting = Descriptor >= 0;
        return _isConnecting;
    }

    protected override bool TryFinishConnecting()
    {
        _isConnecting = false;
        return VirtualSocket.ConnectError(Descriptor) == 0;
    }

    protected override void Disconnect()
    {
        Descriptors.Close(Descriptor);
        Descriptor = -1;
        _isConnecting = false;
    }
}
