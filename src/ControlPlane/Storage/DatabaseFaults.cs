namespace Ravel.ControlPlane.Storage;

/// <summary>
/// For tests: stands before every access to the database, and before and after every commit that changes something. An exception is a crash
/// there.
/// </summary>
/// <param name="OnAccess">Before a transaction or a read begins.</param>
/// <param name="BeforeCommit">All is sent, and nothing is durable.</param>
/// <param name="AfterCommit">It is durable, and nobody knows.</param>
internal sealed record DatabaseFaults(Action OnAccess, Action<ServerDbContext> BeforeCommit, Action<ServerDbContext> AfterCommit);
