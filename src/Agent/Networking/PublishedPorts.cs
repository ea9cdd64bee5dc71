using System.Net;
using System.Net.Sockets;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Linux.Network;

namespace Ravel.Agent.Networking;

/// <summary>
/// Which host ports lead to which instance, each held by a bound socket so that no other process can take it. The sockets end
/// with the process; the redirection does not. Not thread-safe.
/// </summary>
internal sealed class PublishedPorts : IDisposable
{
    private readonly Dictionary<PortMapping, Claim> _claims = new(HostSide.Instance);

    /// <summary>
    /// Takes the ports for an instance; those it has already are kept. All or none.
    /// </summary>
    /// <exception cref="NetworkException"><c>port-taken</c> or <c>invalid-request</c>; names the port.</exception>
    internal void Take(InstanceId instance, IReadOnlyList<PortMapping> ports)
    {
        var taken = new List<PortMapping>();
        try
        {
            foreach (var port in ports)
            {
                if (_claims.TryGetValue(port, out var own) && own.Instance == instance && own.Reservation is not null)
                    continue;
                ThrowIfAnothers(instance, port);
                var reservation = Reserve(port) ?? throw new NetworkException(
                    ProblemCodes.PortTaken,
                    $"port {Describe(port)} is used by another process of this host (see it with: ss -lntup); publish on another port or stop that process");
                _claims[port] = new Claim(instance, reservation);
                taken.Add(port);
            }
        }
        catch
        {
            foreach (var port in taken)
                Remove(port);
            throw;
        }
    }

    /// <summary>Drops every port that <paramref name="wanted"/> does not name, and forgets whose the others are: <see cref="Adopt"/> says.</summary>
    internal void BeginAdoption(IEnumerable<PortMapping> wanted)
    {
        KeepOnly(wanted);
        foreach (var (port, claim) in _claims.ToList())
            _claims[port] = claim with { Instance = null };
    }

    /// <summary>
    /// Takes a port of an instance that runs already and is being served by it: one that a process took while no raveld was
    /// there stays the instance's, and is tried again at the next call.
    /// </summary>
    internal PortAdoption Adopt(InstanceId instance, PortMapping port)
    {
        if (_claims.Any(claim => claim.Value.Instance is { } owner && owner != instance && Overlap(claim.Key, port)))
            return PortAdoption.Refused;
        var reservation = _claims.GetValueOrDefault(port)?.Reservation;
        try
        {
            reservation ??= Reserve(port);
        }
        catch (NetworkException)
        {
            // The address has left the host for now.
        }
        _claims[port] = new Claim(instance, reservation);
        return reservation is null ? PortAdoption.Shared : PortAdoption.Held;
    }

    internal void Release(InstanceId instance)
    {
        foreach (var port in _claims.Where(c => c.Value.Instance == instance).Select(c => c.Key).ToList())
            Remove(port);
    }

    /// <summary>Moves the ports of an earlier incarnation of the same machine to its next.</summary>
    internal void HandOver(InstanceId from, InstanceId to)
    {
        foreach (var (port, claim) in _claims.Where(c => c.Value.Instance == from).ToList())
            _claims[port] = claim with { Instance = to };
    }

    /// <summary>Drops every port that <paramref name="wanted"/> does not name.</summary>
    internal void KeepOnly(IEnumerable<PortMapping> wanted)
    {
        var keep = wanted.ToHashSet(HostSide.Instance);
        foreach (var port in _claims.Keys.Where(port => !keep.Contains(port)).ToList())
            Remove(port);
    }

    public void Dispose() => KeepOnly([]);

    /// <summary>The form in which equal mappings are equal: no address for "all", no port twice.</summary>
    /// <exception cref="NetworkException"><c>invalid-request</c>: no such protocol, address or port, or one port to two.</exception>
    internal static IReadOnlyList<PortMapping> Normalize(IReadOnlyList<PortMapping> ports)
    {
        var normal = new Dictionary<PortMapping, PortMapping>(HostSide.Instance);
        foreach (var port in ports)
        {
            Validate(port);
            var one = port.HostAddress is null or "0.0.0.0"
                ? port with { HostAddress = null }
                : port with { HostAddress = IPAddress.Parse(port.HostAddress).ToString() };
            if (!normal.TryAdd(one, one) && normal[one] != one)
            {
                throw new NetworkException(
                    ProblemCodes.InvalidRequest, $"port {Describe(one)} cannot lead to both {normal[one].GuestPort} and {one.GuestPort}");
            }
        }
        return [.. normal.Values];
    }

    internal static string Describe(PortMapping port) =>
        $"{(port.HostAddress is null ? "" : port.HostAddress + ":")}{port.HostPort}/{port.Protocol}";

    private static void Validate(PortMapping port)
    {
        var addressIsFine = port.HostAddress is null
            || (IPAddress.TryParse(port.HostAddress, out var address) && address.AddressFamily == AddressFamily.InterNetwork);
        if (port is not { Protocol: "tcp" or "udp", HostPort: >= 1 and <= 65535, GuestPort: >= 1 and <= 65535 } || !addressIsFine)
        {
            throw new NetworkException(
                ProblemCodes.InvalidRequest,
                $"port {Describe(port)} to {port.GuestPort} cannot be published: tcp or udp, ports 1–65535, and an IPv4 address of this host or none");
        }
    }

    private void ThrowIfAnothers(InstanceId instance, PortMapping port)
    {
        foreach (var (other, claim) in _claims)
        {
            if (claim.Instance == instance && HostSide.Instance.Equals(other, port))
                continue; // adopted without its socket, tried again here
            if (Overlap(other, port))
            {
                throw new NetworkException(
                    ProblemCodes.PortTaken,
                    claim.Instance == instance
                        ? $"port {Describe(port)} is published twice by one machine"
                        : $"port {Describe(port)} is published by another machine; choose another port or remove that machine");
            }
        }
    }

    private static bool Overlap(PortMapping a, PortMapping b) =>
        a.Protocol == b.Protocol && a.HostPort == b.HostPort
        && (a.HostAddress is null || b.HostAddress is null || a.HostAddress == b.HostAddress);

    private static PortReservation? Reserve(PortMapping port)
    {
        try
        {
            return PortReservation.TryTake(
                port.Protocol == "tcp" ? ProtocolType.Tcp : ProtocolType.Udp,
                port.HostAddress is null ? null : IPAddress.Parse(port.HostAddress),
                port.HostPort);
        }
        catch (LinuxNetworkException e)
        {
            throw new NetworkException(ProblemCodes.InvalidRequest, $"port {Describe(port)} cannot be published: {e.Message}");
        }
    }

    private void Remove(PortMapping port)
    {
        if (_claims.Remove(port, out var claim))
            claim.Reservation?.Dispose();
    }

    private sealed record Claim(InstanceId? Instance, PortReservation? Reservation);

    /// <summary>Two mappings are one claim when they name the same port of the same address.</summary>
    private sealed class HostSide : IEqualityComparer<PortMapping>
    {
        internal static readonly HostSide Instance = new();

        public bool Equals(PortMapping? x, PortMapping? y) =>
            x?.Protocol == y?.Protocol && x?.HostAddress == y?.HostAddress && x?.HostPort == y?.HostPort;

        public int GetHashCode(PortMapping port) => HashCode.Combine(port.Protocol, port.HostAddress, port.HostPort);
    }
}

internal enum PortAdoption
{
    /// <summary>No other process can take it.</summary>
    Held,

    /// <summary>Another process has bound it; the packet filter sends its connections to the instance all the same.</summary>
    Shared,

    /// <summary>Another instance has it.</summary>
    Refused,
}
