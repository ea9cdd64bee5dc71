using Ravel.Contracts.Link;

namespace Ravel.Link;

internal sealed class HostWriter : ILinkWriter
{
    private readonly FrameSender _sender;
    private readonly Lock _gate = new();
    private readonly Signal _changed = new();
    private LinkException? _broken;
    private ulong _offset;
    private ulong _limit = LinkProtocol.InitialWindow;
    private bool _isUnwanted;
    private bool _isEnded;

    public HostWriter(FrameSender sender, uint id)
    {
        _sender = sender;
        Id = id;
    }

    public uint Id { get; }

    public async ValueTask WriteAsync(ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        while (data.Length > 0)
        {
            ulong offset;
            int length;
            lock (_gate)
            {
                ThrowIfBroken();
                if (_isEnded)
                    throw new InvalidOperationException($"stream {Id} was completed");
                if (_isUnwanted)
                    return;
                offset = _offset;
                length = (int)Math.Min(_limit - _offset, (ulong)Math.Min(data.Length, LinkProtocol.MaxPayload));
            }
            if (length == 0)
            {
                await _changed.WaitAsync(cancellationToken);
                continue;
            }
            await SendAsync(FrameFlags.None, offset, data[..length], cancellationToken);
            data = data[length..];
        }
    }

    public async ValueTask CompleteAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            ThrowIfBroken();
            if (_isEnded || _isUnwanted)
                return;
            _isEnded = true;
        }
        await SendAsync(FrameFlags.End, _offset, default, cancellationToken);
    }

    /// <summary>The guest consumed and will take more. A guest that lies only harms its own stream.</summary>
    internal void Extend(ulong limit)
    {
        lock (_gate)
            _limit = Math.Max(_limit, limit);
        _changed.Set();
    }

    internal void Drop()
    {
        lock (_gate)
            _isUnwanted = true;
        _changed.Set();
    }

    internal void Break(LinkException reason)
    {
        lock (_gate)
            _broken = reason;
        _changed.Set();
    }

    private async ValueTask SendAsync(FrameFlags flags, ulong offset, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        await _sender.SendAsync(FrameType.Data, flags, Id, offset, data, cancellationToken);
        lock (_gate)
            _offset = offset + (ulong)data.Length;
    }

    private void ThrowIfBroken()
    {
        if (_broken is { } broken)
            throw new LinkException(broken.Message, broken);
    }
}
