using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

internal sealed partial class ApiClient
{
    public Task<ServerInfo> GetServerAsync(CancellationToken cancellationToken) =>
        GetAsync("server", "v1/server", ApiJson.Default.ServerInfo, cancellationToken);

    /// <summary>Asks the daemon to stop every machine and then itself; it does so after the answer.</summary>
    public Task ShutDownAsync(CancellationToken cancellationToken) =>
        CallAsync("server", HttpMethod.Post, "v1/server/shutdown", null, cancellationToken);

    public Task<NamespaceList> ListNamespacesAsync(CancellationToken cancellationToken) =>
        GetAsync("namespaces", "v1/namespaces", ApiJson.Default.NamespaceList, cancellationToken);

    public Task<Namespace> CreateNamespaceAsync(string name, CancellationToken cancellationToken) =>
        PostAsync(
            name,
            "v1/namespaces",
            new CreateNamespaceRequest { Name = name },
            ApiJson.Default.CreateNamespaceRequest,
            ApiJson.Default.Namespace,
            cancellationToken);

    public Task DeleteNamespaceAsync(string name, CancellationToken cancellationToken) =>
        CallAsync(name, HttpMethod.Delete, $"v1/namespaces/{Uri.EscapeDataString(name)}", null, cancellationToken);

    public Task<IReadOnlyList<Token>> ListTokensAsync(CancellationToken cancellationToken) =>
        GetAsync("tokens", "v1/tokens", ApiJson.Default.IReadOnlyListToken, cancellationToken);

    public Task<Token> CreateTokenAsync(string name, bool administrator, CancellationToken cancellationToken) =>
        PostAsync(
            name,
            "v1/tokens",
            new CreateTokenRequest { Name = name, Administrator = administrator },
            ApiJson.Default.CreateTokenRequest,
            ApiJson.Default.Token,
            cancellationToken);

    public Task DeleteTokenAsync(string id, CancellationToken cancellationToken) =>
        CallAsync(id, HttpMethod.Delete, $"v1/tokens/{Uri.EscapeDataString(id)}", null, cancellationToken);
}
