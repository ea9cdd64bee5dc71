using Microsoft.EntityFrameworkCore;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Recovery;

/// <summary>
/// A lease in the database that no clock decides over: its holder raises a number; who waits for it takes it over when the number stayed
/// the same for <see cref="RecoveryOptions.LeaseTakeover"/> of its own running time. The holder stops believing in it sooner, counted
/// from before its last renewal was sent. So two servers never hold it at once, whatever their clocks and the database's say or jump to.
/// What is done under it must still be safe if they did: a process can sleep between looking and acting.
/// </summary>
internal sealed class DatabaseLease(Database database, string name, RecoveryOptions options, TimeProvider time)
{
    private readonly string _self = Ulid.NewUlid(time.GetUtcNow()).ToString();
    private (string Holder, long Beat) _seen = ("", -1);
    private long _seenAt;
    private long? _renewedAt;

    /// <summary>For how much longer it is this server's without another renewal; zero: it is not.</summary>
    public TimeSpan Left
    {
        get
        {
            if (database.HasOneServer)
                return TimeSpan.MaxValue;
            if (_renewedAt is not { } renewed)
                return TimeSpan.Zero;
            var left = options.LeaseLimit - time.GetElapsedTime(renewed);
            return left > TimeSpan.Zero ? left : TimeSpan.Zero;
        }
    }

    /// <summary>Renews it, or takes it if it can be had.</summary>
    public async Task RenewAsync(CancellationToken cancellationToken)
    {
        if (database.HasOneServer)
            return;
        var began = time.GetTimestamp();
        var found = await database.ReadAsync(db => db.Leases.FirstOrDefaultAsync(l => l.Name == name, cancellationToken), cancellationToken);
        if (found is not null && found.Holder != _self && found.Holder.Length > 0)
        {
            _renewedAt = null;
            if (_seen != (found.Holder, found.Beat))
                (_seen, _seenAt) = ((found.Holder, found.Beat), time.GetTimestamp());
            if (time.GetElapsedTime(_seenAt) < options.LeaseTakeover)
                return;
        }
        var isOurs = await database.WriteAsync(
            async db =>
            {
                // Only in the place of what was seen: of those that wait, one is first.
                var row = await db.Leases.FirstOrDefaultAsync(l => l.Name == name, cancellationToken);
                if (row is null)
                {
                    db.Leases.Add(new LeaseRow { Name = name, Holder = _self });
                    return true;
                }
                if ((row.Holder, row.Beat) != (found?.Holder, found?.Beat))
                    return false;
                (row.Holder, row.Beat) = (_self, row.Beat + 1);
                return true;
            },
            cancellationToken);
        _renewedAt = isOurs ? began : null;
    }

    /// <summary>Gives it back, so that nobody has to wait.</summary>
    public async Task ReleaseAsync(CancellationToken cancellationToken)
    {
        if (database.HasOneServer || _renewedAt is null)
            return;
        _renewedAt = null;
        await database.WriteAsync(
            db => db.Leases.Where(l => l.Name == name && l.Holder == _self)
                .ExecuteUpdateAsync(row => row.SetProperty(l => l.Holder, "").SetProperty(l => l.Beat, l => l.Beat + 1), cancellationToken),
            cancellationToken);
    }
}
