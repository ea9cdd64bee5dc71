using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Tokens;

internal sealed class TokenStore
{
    private const int Most = 256;

    private readonly Database _database;
    private readonly TimeProvider _time;
    private readonly Together<byte[], TokenRow?> _lookups;

    public TokenStore(Database database, TimeProvider time)
    {
        (_database, _time) = (database, time);
        _lookups = new(FindAsync, async hash => (await FindAsync([hash]))[0], Most, atOnce: 2);
    }

    /// <summary>Who holds this secret; null when nobody does.</summary>
    public async Task<Caller?> FindAsync(string secret, CancellationToken cancellationToken)
    {
        if (!TokenSecret.IsWellFormed(secret))
            return null;
        var row = await _lookups.AskAsync(TokenSecret.Hash(secret)).WaitAsync(cancellationToken);
        return row is not null && TokenSecret.Matches(secret, row.Hash) ? new Caller(row.Id, row.Namespace) : null;
    }

    /// <summary>Requests that come at the same moment are one query: each needs this before anything else.</summary>
    private Task<IReadOnlyList<TokenRow?>> FindAsync(IReadOnlyList<byte[]> hashes) => _database.ReadAsync<IReadOnlyList<TokenRow?>>(
        async db =>
        {
            var distinct = hashes.DistinctBy(Convert.ToHexString).ToArray();
            var rows = (await db.Tokens.Where(t => distinct.Contains(t.Hash)).ToListAsync()).ToDictionary(t => Convert.ToHexString(t.Hash));
            return [.. hashes.Select(hash => rows.GetValueOrDefault(Convert.ToHexString(hash)))];
        },
        CancellationToken.None);

    /// <param name="name">For people.</param>
    /// <param name="namespaceName">Null: the whole cluster.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async Task<Token> CreateAsync(string name, string? namespaceName, CancellationToken cancellationToken)
    {
        var (row, secret) = New(name, namespaceName, _time.GetUtcNow());
        await _database.WriteAsync(
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
        _database.ReadAsync(
            async db => (await db.Tokens
                .Where(t => everything || t.Namespace == namespaceName)
                .OrderBy(t => t.Id)
                .ToListAsync(cancellationToken)).ConvertAll(Shown),
            cancellationToken);

    /// <summary>Revokes a token; one that the caller can't see does not exist for it.</summary>
    public Task DeleteAsync(string id, Caller caller, CancellationToken cancellationToken) =>
        _database.WriteAsync(
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
