using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;
using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Machines;

/// <summary>A key of a caller's and what it stands for. Stored in the transaction that carries the request out.</summary>
internal sealed record IdempotencyKey(string Namespace, string Key, byte[] Fingerprint)
{
    public const string Header = "Idempotency-Key";

    /// <summary>Null when the request has none.</summary>
    /// <param name="http">The request.</param>
    /// <param name="tenant">Keys of two namespaces have nothing to do with each other.</param>
    /// <param name="what">What is asked for, apart from the body.</param>
    /// <param name="body">The body as it was understood: two texts of the same meaning are the same request.</param>
    /// <param name="type">How to write it.</param>
    /// <exception cref="ProblemException"><c>invalid-request</c>.</exception>
    public static IdempotencyKey? Of<T>(HttpContext http, string tenant, string what, T body, JsonTypeInfo<T> type)
    {
        if (http.Request.Headers[Header] is not [{ } key, ..])
            return null;
        if (key.Length is 0 or > IdempotencyRow.MaxKey || key.Any(c => c is < ' ' or > '~'))
            throw ProblemException.Invalid($"The header {Header} must be 1 to {IdempotencyRow.MaxKey} printable ASCII characters.");
        return new IdempotencyKey(tenant, key, SHA256.HashData([.. Encoding.UTF8.GetBytes(what), 0, .. JsonSerializer.SerializeToUtf8Bytes(body, type)]));
    }
}

/// <summary>
/// Makes a request that is sent again one request. Those with one key take turns in this process; across processes the primary key of
/// the table lets one through, and the others read what it made.
/// </summary>
internal sealed class IdempotencyKeys(Database database, TimeProvider time)
{
    private const int Lanes = 64;

    /// <summary>How long a key is remembered.</summary>
    public static readonly TimeSpan Memory = TimeSpan.FromHours(24);

    private readonly SemaphoreSlim[] _lanes = [.. Enumerable.Range(0, Lanes).Select(_ => new SemaphoreSlim(1))];

    /// <summary>Waits for the others with this key.</summary>
    public async Task<IDisposable?> EnterAsync(IdempotencyKey? key, CancellationToken cancellationToken)
    {
        if (key is null)
            return null;
        var lane = _lanes[(uint)HashCode.Combine(key.Namespace, key.Key) % Lanes];
        await lane.WaitAsync(cancellationToken);
        return new Turn(lane);
    }

    /// <summary>What the key stands for already.</summary>
    /// <exception cref="ProblemException"><c>idempotency-mismatch</c>.</exception>
    public Task<string?> FindAsync(IdempotencyKey key, CancellationToken cancellationToken) =>
        database.ReadAsync(db => FindAsync(db, key, cancellationToken), cancellationToken);

    /// <summary>In the transaction that makes the resource.</summary>
    public void Add(ServerDbContext db, IdempotencyKey key, string resource) => db.IdempotencyKeys.Add(new IdempotencyRow
    {
        Namespace = key.Namespace,
        Key = key.Key,
        Fingerprint = key.Fingerprint,
        Resource = resource,
        CreatedAt = time.GetUtcNow(),
    });

    public static async Task<string?> FindAsync(ServerDbContext db, IdempotencyKey key, CancellationToken cancellationToken)
    {
        var row = await db.IdempotencyKeys.AsNoTracking().FirstOrDefaultAsync(r => r.Namespace == key.Namespace && r.Key == key.Key, cancellationToken);
        if (row is not null && !row.Fingerprint.AsSpan().SequenceEqual(key.Fingerprint))
        {
            throw new ProblemException(
                ProblemCodes.IdempotencyMismatch, $"The {IdempotencyKey.Header} '{key.Key}' was used for another request; use a new one.");
        }
        return row?.Resource;
    }

    public Task ForgetAsync(CancellationToken cancellationToken)
    {
        var before = time.GetUtcNow() - Memory;
        return database.WriteAsync(db => db.IdempotencyKeys.Where(r => r.CreatedAt < before).ExecuteDeleteAsync(cancellationToken), cancellationToken);
    }

    private sealed class Turn(SemaphoreSlim lane) : IDisposable
    {
        public void Dispose() => lane.Release();
    }
}
