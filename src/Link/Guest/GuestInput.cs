namespace Ravel.Link;

/// <summary>The receiving end of a stream to the guest (standard input of the workload or of an exec session).</summary>
public sealed class GuestInput
{
    private readonly IncomingStream _stream;

    internal GuestInput(uint id)
    {
        _stream = new IncomingStream(id, 0);
    }

    public uint Id => _stream.Id;

    /// <summary>Bytes that arrived and were not taken yet (not necessarily all of them).</summary>
    public ReadOnlySpan<byte> Front => _stream.Front;

    /// <summary>All was taken and nothing follows.</summary>
    public bool IsAtEnd => _stream.IsEnded && _stream.Available == 0;

    /// <summary>The process wants no more: the host is told, and what still arrives is dropped.</summary>
    public bool IsClosed { get; private set; }

    internal bool IsResetDue { get; set; }

    internal IncomingStream Stream => _stream;

    public void Take(int count)
    {
        _stream.Skip(count);
        _stream.Consume(_stream.Read);
    }

    public void Close()
    {
        if (IsClosed)
            return;
        IsClosed = true;
        IsResetDue = !_stream.IsEnded;
        if (_stream.Available > 0)
            Take(_stream.Available);
    }
}
