using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;
using Ravel.Trust;

namespace Ravel.ControlPlane.Cluster;

/// <summary>Who may join, and who has.</summary>
internal sealed class MemberStore(Database database, TimeProvider time)
{
    /// <summary>Tokens that are of no use any more are kept this long, so that who tries one hears why.</summary>
    private static readonly TimeSpan TokenRetention = TimeSpan.FromDays(1);

    /// <param name="token">The new token.</param>
    /// <param name="lifetime">How long it can be used.</param>
    /// <param name="forNode">A node that may join again with it, whatever key it has; null: new nodes.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>When it expires.</returns>
    public Task<DateTimeOffset> AddTokenAsync(JoinToken token, TimeSpan lifetime, string? forNode, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var expires = now + lifetime;
        var old = now - TokenRetention;
        return database.WriteAsync(
            async db =>
            {
                await db.JoinTokens.Where(t => t.ExpiresAt < old).ExecuteDeleteAsync(cancellationToken);
                db.JoinTokens.Add(new JoinTokenRow
                {
                    Id = Ulid.NewUlid(now).ToString(),
                    Hash = JoinToken.HashOf(token.Secret),
                    ForNode = forNode,
                    CreatedAt = now,
                    ExpiresAt = expires,
                });
                return expires;
            },
            cancellationToken);
    }

    /// <summary>
    /// Uses a token up and makes its holder a member, in one transaction. Whoever did that and lost the answer may do it again: same
    /// token, same node, same key, still a member.
    /// </summary>
    /// <exception cref="ProblemException"><c>join-token-invalid</c>; <c>name-taken</c>: the id is another host's.</exception>
    public async Task JoinAsync(string secret, string nodeId, byte[] keyHash, CancellationToken cancellationToken)
    {
        var hash = JoinToken.HashOf(secret);
        // Anybody may call: what is no token costs a look and no turn to write.
        await database.ReadAsync(db => UsableAsync(db, hash, cancellationToken), cancellationToken);
        await database.WriteAsync(
            async db =>
            {
                var now = time.GetUtcNow();
                var token = await UsableAsync(db, hash, cancellationToken);
                var member = await db.Members.FirstOrDefaultAsync(m => m.Id == nodeId, cancellationToken);
                var isSameKey = member is not null && Member.Of(member).Has(keyHash);
                if (token.UsedAt is not null)
                {
                    if (token.UsedBy == nodeId && isSameKey)
                        return;
                    throw InvalidToken("was used already");
                }
                if (token.ForNode is not null && token.ForNode != nodeId)
                    throw InvalidToken($"is for node {token.ForNode}");
                if (member is not null && !isSameKey && token.ForNode != nodeId)
                {
                    throw new ProblemException(
                        ProblemCodes.NameTaken,
                        $"There is a node {nodeId} with another key; if this is that host, use a token of 'ravel node join-token --node {nodeId}'.");
                }
                (token.UsedAt, token.UsedBy) = (now, nodeId);
                if (member is null)
                    db.Members.Add(new MemberRow { Id = nodeId, KeyHash = keyHash, JoinedAt = now });
                else
                    (member.KeyHash, member.PreviousKeyHash, member.JoinedAt) = (keyHash, null, now);
            },
            cancellationToken);
    }

    /// <summary>A member has a new key. The one it asks with stays good until the next renewal, since it may not hear of this one.</summary>
    /// <returns>False: it is no member, or asks with a key of before.</returns>
    public Task<bool> RenewAsync(string nodeId, byte[] askedWith, byte[] keyHash, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                if (await db.Members.FirstOrDefaultAsync(m => m.Id == nodeId, cancellationToken) is not { } member
                    || !Member.Of(member).Has(askedWith))
                    return false;
                (member.KeyHash, member.PreviousKeyHash) = (keyHash, askedWith);
                return true;
            },
            cancellationToken);

    /// <summary>A member as it is now; null when there is none of that id.</summary>
    public Task<Member?> FindAsync(string nodeId, CancellationToken cancellationToken) =>
        database.ReadAsync(
            async db => await db.Members.FirstOrDefaultAsync(m => m.Id == nodeId, cancellationToken) is { } row ? Member.Of(row) : null,
            cancellationToken);

    /// <summary>Where a member serves from now on.</summary>
    public Task SetAddressAsync(string nodeId, string address, CancellationToken cancellationToken) =>
        database.WriteAsync(
            db => db.Members.Where(m => m.Id == nodeId)
                .ExecuteUpdateAsync(row => row.SetProperty(m => m.Address, address).SetProperty(m => m.Beat, m => m.Beat + 1), cancellationToken),
            cancellationToken);

    /// <exception cref="ProblemException"><c>join-token-invalid</c>: there is none, or it has expired.</exception>
    private async Task<JoinTokenRow> UsableAsync(ServerDbContext db, byte[] hash, CancellationToken cancellationToken)
    {
        var token = await db.JoinTokens.FirstOrDefaultAsync(t => t.Hash == hash, cancellationToken) ?? throw InvalidToken("is not known here");
        return time.GetUtcNow() < token.ExpiresAt ? token : throw InvalidToken("has expired");
    }

    private static ProblemException InvalidToken(string why) =>
        new(ProblemCodes.JoinTokenInvalid, $"This join token {why}; make another with 'ravel node join-token'.");
}
