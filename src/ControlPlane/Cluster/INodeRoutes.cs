using System.Security.Cryptography.X509Certificates;
using Ravel.ControlPlane.Nodes;
using Ravel.Trust;

namespace Ravel.ControlPlane.Cluster;

/// <summary>Whoever speaks with the nodes that are there.</summary>
internal interface INodeRoutes
{
    /// <summary>A node is at this address from now on; said again and again.</summary>
    void Add(string nodeId, Uri address);

    /// <summary>A node is away, or was removed.</summary>
    void Remove(string nodeId);
}

/// <summary>The server's own connections. Each takes the certificate of its node and no other.</summary>
internal sealed class DirectoryRoutes(NodeDirectory directory, ClusterAuthority cluster, HubOptions options) : INodeRoutes
{
    public void Add(string nodeId, Uri address) => directory.Add(new NodeEndPoint(
        nodeId,
        address,
        () => PeerTls.Calling(cluster.Own, certificate => IsNode(certificate, nodeId), options.ConnectionLifetime))
    {
        NodeId = nodeId,
    });

    public void Remove(string nodeId) => directory.Remove(nodeId);

    private bool IsNode(X509Certificate2? certificate, string nodeId) =>
        cluster.Verifier.Called(certificate) is { Role: PeerRole.Node, Id: var id } && id == nodeId;
}
