using Ravel.Contracts.Ids;

namespace Ravel.Agent.Capacity;

/// <summary>Room held for a machine that is on its way here; it ends by itself.</summary>
internal sealed record CapacityReservation(string Id, MachineId Machine, ulong Generation, NodeShare Share, DateTimeOffset ExpiresAt);
