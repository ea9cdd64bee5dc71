using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

internal sealed partial class ApiClient
{
    public Task<IReadOnlyList<Node>> ListNodesAsync(CancellationToken cancellationToken) =>
        GetAsync("nodes", "v1/nodes", ApiJson.Default.IReadOnlyListNode, cancellationToken);

    public Task<Node> GetNodeAsync(string id, CancellationToken cancellationToken) => GetAsync(id, PathOfNode(id), ApiJson.Default.Node, cancellationToken);

    public async Task<Node> CordonNodeAsync(string id, bool isCordoned, CancellationToken cancellationToken)
    {
        await CallAsync(id, HttpMethod.Post, $"{PathOfNode(id)}/{(isCordoned ? "cordon" : "uncordon")}", null, cancellationToken);
        return await GetNodeAsync(id, cancellationToken);
    }

    public Task RemoveNodeAsync(string id, CancellationToken cancellationToken) =>
        CallAsync(id, HttpMethod.Delete, PathOfNode(id), null, cancellationToken);

    public Task<NodeJoinToken> CreateJoinTokenAsync(CreateJoinTokenRequest request, CancellationToken cancellationToken) => PostAsync(
        "join-token", "v1/nodes/join-tokens", request, ApiJson.Default.CreateJoinTokenRequest, ApiJson.Default.NodeJoinToken, cancellationToken);

    private static string PathOfNode(string id) => $"v1/nodes/{Uri.EscapeDataString(id)}";
}
