using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Ravel.ControlPlane.Cluster;
using Ravel.ControlPlane.Namespaces;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;
using Ravel.ControlPlane.Tokens;

namespace Ravel.ControlPlane;

/// <summary>The secrets made at the first start, shown this once: store them before anything else.</summary>
/// <param name="AdministratorSecret">Bearer token of the whole cluster.</param>
/// <param name="NamespaceSecret">Bearer token of the namespace <c>default</c>.</param>
public sealed record BootstrapResult(string AdministratorSecret, string NamespaceSecret);

/// <summary>What the composition root does with the database before the server serves.</summary>
public static class Bootstrap
{
    private const string AdministratorTokenName = "bootstrap-administrator";
    private const string NamespaceTokenName = "bootstrap-default";

    /// <summary>
    /// Brings the schema up to date and, on a new database, makes the <c>default</c> namespace and the first two tokens, and the
    /// cluster's authority if this server has a hub.
    /// </summary>
    /// <exception cref="ClusterKeyException">The cluster's authority is sealed with another key than this server has.</exception>
    /// <returns>The secrets if they were made now; null on every later start.</returns>
    public static async Task<BootstrapResult?> EnsureBootstrapAsync(this IServiceProvider services, CancellationToken cancellationToken)
    {
        var database = services.GetRequiredService<Database>();
        var time = services.GetRequiredService<TimeProvider>();
        await database.MigrateAsync(cancellationToken);
        if (services.GetService<ClusterAuthority>() is { } cluster)
            await cluster.OpenAsync(cancellationToken);
        return await database.WriteAsync(
            async db =>
            {
                if (await db.Namespaces.AnyAsync(n => n.Name == Caller.DefaultNamespace, cancellationToken)
                    || await db.Tokens.AnyAsync(t => t.Namespace == null, cancellationToken))
                    return null;
                db.Namespaces.Add(new NamespaceRow { Name = Caller.DefaultNamespace, CreatedAt = time.GetUtcNow() });
                return await AddTokensAsync(db, time, cancellationToken);
            },
            cancellationToken);
    }

    /// <summary>Returns once the server that was started has reached a node, or has tried for some seconds.</summary>
    public static async Task AwaitNodeAsync(this IServiceProvider services, CancellationToken cancellationToken)
    {
        try
        {
            await services.GetRequiredService<NodeDirectory>().AnyAsync(cancellationToken);
        }
        catch (ProblemException)
        {
            // Requests that need one are told so.
        }
    }

    /// <summary>
    /// Makes the two first tokens anew and revokes the old ones: for root on the server's own host, who has lost the file with the
    /// secrets (or never got it, because the first start was cut off). Tokens made over the API are untouched.
    /// </summary>
    public static async Task<BootstrapResult> RenewBootstrapTokensAsync(this IServiceProvider services, CancellationToken cancellationToken)
    {
        var time = services.GetRequiredService<TimeProvider>();
        return await services.GetRequiredService<Database>().WriteAsync(
            async db =>
            {
                if (!await db.Namespaces.AnyAsync(n => n.Name == Caller.DefaultNamespace, cancellationToken))
                    db.Namespaces.Add(new NamespaceRow { Name = Caller.DefaultNamespace, CreatedAt = time.GetUtcNow() });
                return await AddTokensAsync(db, time, cancellationToken);
            },
            cancellationToken);
    }

    /// <summary>Whether a secret that was stored elsewhere is still an administrator's.</summary>
    public static async Task<bool> IsAdministratorSecretAsync(this IServiceProvider services, string secret, CancellationToken cancellationToken) =>
        await services.GetRequiredService<TokenStore>().FindAsync(secret, cancellationToken) is { IsAdministrator: true };

    /// <summary>An administrator's token beside those that there are: for root on the host of one more server.</summary>
    public static async Task<string> AddAdministratorSecretAsync(this IServiceProvider services, string name, CancellationToken cancellationToken) =>
        (await services.GetRequiredService<TokenStore>().CreateAsync(name, namespaceName: null, cancellationToken)).Secret!;

    private static async Task<BootstrapResult> AddTokensAsync(ServerDbContext db, TimeProvider time, CancellationToken cancellationToken)
    {
        await db.Tokens.Where(t => t.Name == AdministratorTokenName || t.Name == NamespaceTokenName).ExecuteDeleteAsync(cancellationToken);
        var (administrator, administratorSecret) = TokenStore.New(AdministratorTokenName, null, time.GetUtcNow());
        var (tenant, tenantSecret) = TokenStore.New(NamespaceTokenName, Caller.DefaultNamespace, time.GetUtcNow());
        db.Tokens.AddRange(administrator, tenant);
        return new BootstrapResult(administratorSecret, tenantSecret);
    }
}
