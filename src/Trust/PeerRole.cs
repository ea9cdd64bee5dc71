namespace Ravel.Trust;

/// <summary>What a certificate lets its holder be. A node may do nothing that only servers do, and the other way round.</summary>
public enum PeerRole
{
    Server,
    Node,
}
