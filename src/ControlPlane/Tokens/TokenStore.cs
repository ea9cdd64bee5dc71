using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Tokens;

internal sealed class TokenStore(Database database, TimeProvider time)
{
    /// <summary>Who holds this secret; null when nobody does.</summary>
    public Task<Caller?> FindAsync(string secret, CancellationToken cancellationToken)
    {
        if (!TokenSecret.IsWellFormed(secret))
            return Task.FromResult<Caller?>(null);
        var hash = TokenSecret.Hash(secret);
        return database.ReadAsync(
            async db =>
            {
                var row = await db.Tokens.FirstOrDefaultAsync(t => t.Hash == hash, cancellationToken);
                return row is not null && TokenSecret.Matches(secret, row.Hash) ? new Caller(row.Id, row.Namespace) : null;
            },
            cancellationToken);
    }

    /// <param name="name">For people.</param>
    /// <param name="namespaceName">Null: the whole cluster.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async Task<Token> CreateAsync(string name, string? namespaceName, CancellationToken cancellationToken)
    {
        var (row, secret) = New(name, namespaceName, time.GetUtcNow());
        await database.WriteAsync(
            async db =>
            {
                if (namespaceName is not null && !await db.Namespaces.AnyAsync(n => n.Name == namespaceName, cancellationToken))
                    throw ProblemException.NamespaceNotFound(namespaceName);
                db.Tokens.Add(row);
            },
            cancellationToken);
        return Shown(row) with { Secret = secret };
    }

    public Task<List<Token>> ListAsync(string? namespaceName, bool everything, CancellationToken cancellationToken) =>
        database.ReadAsync(
            async db => (await db.Tokens
                .Where(t => everything || t.Namespace == namespaceName)
                .OrderBy(t => t.Id)
                .ToListAsync(cancellationToken)).ConvertAll(Shown),
            cancellationToken);

    /// <summary>Revokes a token; one that the caller can't see does not exist for it.</summary>
    public Task DeleteAsync(string id, Caller caller, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                var row = await db.Tokens.FirstOrDefaultAsync(t => t.Id == id, cancellationToken);
                if (row is null || (!caller.IsAdministrator && row.Namespace != caller.Namespace))
                    throw new ProblemException(ProblemCodes.NotFound, $"There is no token '{id}'; list them with GET /v1/tokens.");
                db.Tokens.Remove(row);
            },
            cancellationToken);

    public static (TokenRow Row, string Secret) New(string name, string? namespaceName, DateTimeOffset now)
    {
        var secret = TokenSecret.New();
        var row = new TokenRow
        {
            Id = Ulid.NewUlid(now).ToString(),
            Name = name,
            Namespace = namespaceName,
            Hash = TokenSecret.Hash(secret),
            CreatedAt = now,
        };
        return (row, secret);
    }

    private static Token Shown(TokenRow row) => new()
    {
        Id = row.Id,
        Name = row.Name,
        Namespace = row.Namespace,
        CreatedAt = row.CreatedAt,
    };
}
