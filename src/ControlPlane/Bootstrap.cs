using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Cluster;
using Ravel.ControlPlane.Namespaces;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;
using Ravel.ControlPlane.Tokens;
using Ravel.Durable;

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

    private static readonly BackoffPolicy Retry = new(TimeSpan.FromMilliseconds(100), 2, TimeSpan.FromSeconds(2));

    /// <summary>
    /// Brings the schema up to date and, on a new database, makes the <c>default</c> namespace and the first two tokens, and the
    /// cluster's authority if this server has a hub.
    /// </summary>
    /// <remarks>Waits for a database that does not answer.</remarks>
    /// <exception cref="System.Data.Common.DbException">The database answers, and refuses.</exception>
    /// <exception cref="ClusterKeyException">The cluster's authority is sealed with another key than this server has.</exception>
    /// <returns>The secrets if they were made now; null on every later start.</returns>
    public static async Task<BootstrapResult?> EnsureBootstrapAsync(this IServiceProvider services, CancellationToken cancellationToken)
    {
        var database = services.GetRequiredService<Database>();
        var time = services.GetRequiredService<TimeProvider>();
        await MigrateAsync(database, time, services.GetRequiredService<ILogger<Database>>(), cancellationToken);
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

    /// <summary>Hosts that start together after a power cut come up in any order: a database that does not answer yet is waited for.</summary>
    private static async Task MigrateAsync(Database database, TimeProvider time, ILogger log, CancellationToken cancellationToken)
    {
        for (var failures = 1; ; failures++)
        {
            try
            {
                await database.MigrateAsync(cancellationToken);
                return;
            }
            catch (ProblemException e) when (e.Code == ProblemCodes.DatabaseUnavailable)
            {
                if (failures == 1)
                    log.LogWarning(e.InnerException, "The database does not answer; it is waited for");
                await Task.Delay(Retry.DelayAfter(failures), time, cancellationToken);
            }
        }
    }

    private static async Task<BootstrapResult> AddTokensAsync(ServerDbContext db, TimeProvider time, CancellationToken cancellationToken)
    {
        await db.Tokens.Where(t => t.Name == AdministratorTokenName || t.Name == NamespaceTokenName).ExecuteDeleteAsync(cancellationToken);
        var (administrator, administratorSecret) = TokenStore.New(AdministratorTokenName, null, time.GetUtcNow());
        var (tenant, tenantSecret) = TokenStore.New(NamespaceTokenName, Caller.DefaultNamespace, time.GetUtcNow());
        db.Tokens.AddRange(administrator, tenant);
        return new BootstrapResult(administratorSecret, tenantSecret);
    }
}
