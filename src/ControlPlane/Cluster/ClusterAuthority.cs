using System.Security.Cryptography;
using Microsoft.EntityFrameworkCore;
using Ravel.ControlPlane.Storage;
using Ravel.Trust;

namespace Ravel.ControlPlane.Cluster;

/// <summary>The authority, and this server's own certificate of it, which lives in memory and is replaced in time.</summary>
internal sealed class ClusterAuthority(Database database, HubOptions options, TimeProvider time) : IDisposable
{
    private CertificateAuthority? _authority;
    private PeerVerifier? _verifier;

    /// <summary>Of this run of the process: nothing of a server outlives it.</summary>
    public string ServerId { get; } = Ulid.NewUlid(time.GetUtcNow()).ToString();

    public LiveCertificate Own { get; } = new();

    public CertificateAuthority Authority => _authority ?? throw new InvalidOperationException("The cluster's authority is not open yet.");

    public PeerVerifier Verifier => _verifier ?? throw new InvalidOperationException("The cluster's authority is not open yet.");

    /// <summary>Reads the authority, or makes it: of servers that start together on a new database one does.</summary>
    /// <exception cref="ClusterKeyException">Its key is sealed, and not with this server's secret.</exception>
    public async Task OpenAsync(CancellationToken cancellationToken)
    {
        _authority = await database.WriteAsync(
            async db =>
            {
                if (await db.Clusters.FirstOrDefaultAsync(cancellationToken) is { } row)
                    return Load(row);
                var authority = CertificateAuthority.Create(time.GetUtcNow());
                var (certificate, key) = (authority.Certificate.RawData, authority.ExportKey());
                db.Clusters.Add(new ClusterRow
                {
                    Certificate = certificate,
                    Key = options.AuthoritySecret is { } secret ? AuthorityKeySeal.Seal(key, certificate, secret) : key,
                    IsSealed = options.AuthoritySecret is not null,
                    CreatedAt = time.GetUtcNow(),
                });
                return authority;
            },
            cancellationToken);
        _verifier = new PeerVerifier(_authority.Certificate, time);
        RenewOwn();
    }

    /// <summary>Replaces this server's certificate when it is time.</summary>
    public void RenewOwn()
    {
        var now = time.GetUtcNow();
        if (Own.IsDue(now))
            Own.Replace(Authority.IssueWithKey(new PeerIdentity(PeerRole.Server, ServerId), options.ServerCertificateLifetime, now));
    }

    public void Dispose() => _authority?.Dispose();

    private CertificateAuthority Load(ClusterRow row)
    {
        var key = row.Key;
        if (row.IsSealed)
        {
            key = options.AuthoritySecret is { } secret
                ? AuthorityKeySeal.TryOpen(row.Key, row.Certificate, secret)
                    ?? throw new ClusterKeyException("The cluster's authority is sealed with another cluster key; give this server the one of the others.")
                : throw new ClusterKeyException("The cluster's authority is sealed; give this server the cluster key of the others (--cluster-key FILE).");
        }
        else if (options.AuthoritySecret is { } secret)
        {
            row.Key = AuthorityKeySeal.Seal(key, row.Certificate, secret);
            row.IsSealed = true;
        }
        try
        {
            return CertificateAuthority.Load(row.Certificate, key);
        }
        catch (CryptographicException e)
        {
            throw new ClusterKeyException($"The cluster's authority in the database cannot be read: {e.Message}");
        }
    }
}
