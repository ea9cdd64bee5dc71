namespace Ravel.Link;

/// <summary>The session broke: the peer violated the protocol, spoke another version, or went away.</summary>
public sealed class LinkException : Exception
{
    public LinkException(string message)
        : base(message)
    {
    }

    public LinkException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
