using System.Collections.Immutable;
using System.Net;
using Microsoft.Extensions.Logging;
using Ravel.Agent.Hosting;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Linux.Network;
using Ravel.Linux.Processes;

namespace Ravel.Agent.Networking;

/// <summary>
/// Routed taps and one packet-filter table, both derived from the attachments alone. Works in the network namespace of the thread
/// that made it, and must be called from such threads.
/// </summary>
public sealed class NodeNetwork : INodeNetwork, IDisposable
{
    private readonly HostSlot _slot;
    private readonly NodeNetworkOptions _options;
    private readonly ILogger<NodeNetwork> _logger;
    private readonly IReadOnlyList<IPNetwork> _allowed;
    private readonly TapDevices _taps;
    private readonly PublishedPorts _ports = new();
    private readonly Coalescer _table;

    /// <summary>Held while taps and ports change; the table is replaced outside it, for all who wait at once.</summary>
    private readonly SemaphoreSlim _gate = new(1, 1);

    private volatile ImmutableDictionary<InstanceId, NetworkAttachment> _attachments = ImmutableDictionary<InstanceId, NetworkAttachment>.Empty;
    private volatile HostUplinks? _uplinks;
    private volatile IPAddress? _resolver;

    /// <exception cref="FormatException">An option is wrong.</exception>
    /// <exception cref="LinuxNetworkException">The kernel refuses netlink.</exception>
    public NodeNetwork(HostSlot slot, NodeNetworkOptions options, ILogger<NodeNetwork> logger)
    {
        _slot = slot;
        _options = options;
        _logger = logger;
        _allowed = options.ParseAllowedRanges();
        _taps = new TapDevices(slot, options.TapOwner);
        _table = new Coalescer(ReplaceTableAsync);
    }

    /// <summary>No instance is attached: none runs on this node.</summary>
    public bool IsEmpty => _attachments.IsEmpty;

    /// <inheritdoc/>
    public async Task ReconcileAsync(IReadOnlyCollection<NetworkAttachment> wanted, CancellationToken cancellationToken)
    {
        // Of two incarnations of one machine only the later can be running.
        var attachments = wanted.Select(Checked)
            .GroupBy(attachment => attachment.AddressIndex)
            .Select(sameAddress => sameAddress.MaxBy(attachment => attachment.Instance)!)
            .ToList();
        var problems = new List<string>();
        await _gate.WaitAsync(cancellationToken);
        try
        {
            Guard("preparing the host", Observe);
            var guests = attachments.ConvertAll(Addresses);
            IReadOnlyList<IPAddress> left = [];
            Guard("removing stray taps", () => left = _taps.RemoveOthers(guests.Select(guest => guest.Tap).ToHashSet()));
            foreach (var address in left)
                Guard($"forgetting connections of {address}", () => ConnectionTracking.Forget(address));
            foreach (var guest in guests)
                Guard($"tap {guest.Tap}", () => _taps.Ensure(guest, Uplinks.Mtu));
            _attachments = AdoptPorts(attachments);
        }
        finally
        {
            _gate.Release();
        }
        await _table.RunAsync().WaitAsync(cancellationToken);
        if (problems.Count > 0)
            throw new NetworkException(ProblemCodes.Internal, $"the network is not as it should be: {string.Join("; ", problems)}");

        // One machine's trouble must not keep the others from being set right.
        void Guard(string what, Action step)
        {
            try
            {
                step();
            }
            catch (IOException e)
            {
                problems.Add($"{what}: {e.Message}");
            }
        }
    }

    /// <inheritdoc/>
    public async Task<InstanceNetwork> AttachAsync(NetworkAttachment attachment, CancellationToken cancellationToken)
    {
        attachment = Checked(attachment);
        var guest = Addresses(attachment);
        NetworkAttachment? before = null;
        await _gate.WaitAsync(cancellationToken);
        try
        {
            if (_uplinks is null)
                Observe();
            before = _attachments.Values.FirstOrDefault(other => other.AddressIndex == attachment.AddressIndex);
            if (before is not null && before.Machine != attachment.Machine)
            {
                throw new NetworkException(
                    ProblemCodes.Internal,
                    $"machine {attachment.Machine} cannot have address {guest.V4}: machine {before.Machine} has it");
            }

            // A machine's next incarnation may come before its last one is detached.
            if (before is not null)
                _ports.HandOver(before.Instance, attachment.Instance);
            _ports.Take(attachment.Instance, attachment.Ports);
            _taps.Ensure(guest, Uplinks.Mtu);
            _attachments = (before is null ? _attachments : _attachments.Remove(before.Instance)).SetItem(attachment.Instance, attachment);
            _ports.KeepOnly(_attachments.Values.SelectMany(other => other.Ports));
        }
        catch (Exception e) when (before is null)
        {
            _ports.Release(attachment.Instance);
            Undo(guest);
            if (e is IOException)
                throw new NetworkException(ProblemCodes.Internal, $"machine {attachment.Machine} could not be connected: {e.Message}");
            throw;
        }
        catch (Exception e)
        {
            _ports.HandOver(attachment.Instance, before!.Instance);
            if (e is IOException)
                throw new NetworkException(ProblemCodes.Internal, $"machine {attachment.Machine} could not be connected: {e.Message}");
            throw;
        }
        finally
        {
            _gate.Release();
        }

        try
        {
            await _table.RunAsync().WaitAsync(cancellationToken);
        }
        catch
        {
            await DetachAsync(attachment.Instance, CancellationToken.None);
            throw;
        }
        return Describe(guest, Uplinks.Mtu);
    }

    /// <inheritdoc/>
    public async Task LimitAsync(InstanceId instance, long? bytesPerSecond, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            if (!_attachments.TryGetValue(instance, out var attachment))
                return;
            attachment = attachment with { BytesPerSecond = bytesPerSecond };
            _taps.Limit(Addresses(attachment));
            _attachments = _attachments.SetItem(instance, attachment);
        }
        catch (IOException e)
        {
            throw new NetworkException(ProblemCodes.Internal, $"the network of instance {instance} could not be limited: {e.Message}");
        }
        finally
        {
            _gate.Release();
        }
        await _table.RunAsync().WaitAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyDictionary<InstanceId, GuestTraffic>> ReadTrafficAsync(CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            var traffic = _taps.ReadTraffic();
            return _attachments.Values
                .Select(attachment => (attachment.Instance, Tap: _slot.TapName(attachment.AddressIndex)))
                .Where(guest => traffic.ContainsKey(guest.Tap))
                .ToDictionary(guest => guest.Instance, guest => traffic[guest.Tap]);
        }
        catch (IOException e)
        {
            throw new NetworkException(ProblemCodes.Internal, $"the traffic of the taps could not be read: {e.Message}");
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <inheritdoc/>
    public async Task DetachAsync(InstanceId instance, CancellationToken cancellationToken)
    {
        GuestAddresses guest;
        await _gate.WaitAsync(cancellationToken);
        try
        {
            if (!_attachments.TryGetValue(instance, out var attachment))
                return;
            guest = Addresses(attachment);
            _taps.Remove(guest.Tap);
            _attachments = _attachments.Remove(instance);
        }
        catch (IOException e)
        {
            throw new NetworkException(ProblemCodes.Internal, $"instance {instance} could not be disconnected: {e.Message}");
        }
        finally
        {
            _gate.Release();
        }

        // Not cancellable from here on: nobody would come back for the rest.
        await _table.RunAsync();
        await _gate.WaitAsync(CancellationToken.None);
        try
        {
            _ports.Release(instance);
            if (_attachments.Values.All(other => other.AddressIndex != guest.Index))
                ForgetConnections(guest);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>
    /// Removes every trace from the kernel: taps with their addresses and routes, tables, port reservations. For a shutdown
    /// without machines; those that run lose their network.
    /// </summary>
    /// <exception cref="NetworkException">Something could not be removed.</exception>
    public async Task RemoveEverythingAsync(CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            foreach (var address in _taps.RemoveOthers(new HashSet<string>()))
                ConnectionTracking.Forget(address);
            _ports.KeepOnly([]);
            _attachments = _attachments.Clear();
            await RunNftAsync(NftTable.RenderRemoval(_slot.NftTable), cancellationToken);
        }
        catch (IOException e)
        {
            throw new NetworkException(ProblemCodes.Internal, $"the network could not be removed: {e.Message}");
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Lets go of sockets; what the kernel does for running guests stays.</summary>
    public void Dispose()
    {
        _ports.Dispose();
        _taps.Dispose();
        _gate.Dispose();
    }

    private HostUplinks Uplinks => _uplinks ?? throw new InvalidOperationException("The host was not looked at yet.");

    /// <summary>Reads what the host decides: its uplinks and its resolver.</summary>
    private void Observe()
    {
        _resolver = HostResolver.Read(_options);
        _uplinks = _taps.FindUplinks();
        HostForwarding.Enable(_uplinks.Interfaces);
    }

    /// <summary>
    /// Holds the ports of what runs. A port that an earlier instance of <paramref name="attachments"/> has is left out of the later
    /// one's: its attach would have been refused.
    /// </summary>
    private ImmutableDictionary<InstanceId, NetworkAttachment> AdoptPorts(IEnumerable<NetworkAttachment> attachments)
    {
        var adopted = ImmutableDictionary.CreateBuilder<InstanceId, NetworkAttachment>();
        _ports.BeginAdoption(attachments.SelectMany(attachment => attachment.Ports));
        foreach (var attachment in attachments.OrderBy(attachment => attachment.Instance))
        {
            var served = new List<PortMapping>();
            foreach (var port in attachment.Ports)
            {
                var adoption = _ports.Adopt(attachment.Instance, port);
                if (adoption != PortAdoption.Held)
                {
                    _logger.LogWarning(
                        "Port {Port} of machine {Machine} is also used by {Other}.",
                        PublishedPorts.Describe(port), attachment.Machine,
                        adoption == PortAdoption.Refused ? "another machine, which keeps it" : "another process of this host, which no longer gets its connections");
                }
                if (adoption != PortAdoption.Refused)
                    served.Add(port);
            }
            adopted.Add(attachment.Instance, attachment with { Ports = served });
        }
        return adopted.ToImmutable();
    }

    private void Undo(GuestAddresses guest)
    {
        try
        {
            _taps.Remove(guest.Tap);
        }
        catch (IOException e)
        {
            // The next reconcile removes it.
            _logger.LogWarning("Tap {Tap} is left over: {Reason}", guest.Tap, e.Message);
        }
    }

    private void ForgetConnections(GuestAddresses guest)
    {
        try
        {
            ConnectionTracking.Forget(guest.V4);
            ConnectionTracking.Forget(guest.V6);
        }
        catch (IOException e)
        {
            _logger.LogWarning("Connections of {Address} could not be forgotten: {Reason}", guest.V4, e.Message);
        }
    }

    private async Task ReplaceTableAsync() => await RunNftAsync(NftTable.Render(Rules()), CancellationToken.None);

    private PacketRules Rules() => new(
        _slot.NftTable,
        _slot.TapPrefix,
        _slot.Addresses.GatewayV4,
        SlotAddresses.GatewayV6,
        _slot.Addresses.RangeV4,
        _slot.Addresses.RangeV6,
        _resolver,
        _allowed,
        [.. _attachments.Values.Select(Addresses)]);

    private static async Task RunNftAsync(string script, CancellationToken cancellationToken)
    {
        try
        {
            await CommandRunner.RunCheckedAsync("nft", ["-f", "-"], script, cancellationToken: cancellationToken);
        }
        catch (CommandException e)
        {
            throw new NetworkException(ProblemCodes.Internal, $"the packet rules could not be replaced: {e.Message.ReplaceLineEndings(" ")}");
        }
    }

    private GuestAddresses Addresses(NetworkAttachment attachment) => new(
        attachment.AddressIndex,
        _slot.TapName(attachment.AddressIndex),
        _slot.Addresses.GuestMac(attachment.AddressIndex),
        _slot.Addresses.GuestV4(attachment.AddressIndex),
        _slot.Addresses.GuestV6(attachment.NetworkIndex, attachment.AddressIndex),
        _slot.Addresses.GuestLinkLocal(attachment.AddressIndex),
        attachment.NetworkIndex,
        attachment.Ports,
        attachment.BytesPerSecond);

    private InstanceNetwork Describe(GuestAddresses guest, int mtu) => new(
        guest.Tap,
        guest.Mac,
        $"{guest.V4}/32",
        _taps.HasIPv6 ? $"{guest.V6}/128" : "",
        _slot.Addresses.GatewayV4.ToString(),
        _taps.HasIPv6 ? SlotAddresses.GatewayV6.ToString() : "",
        [_slot.Addresses.GatewayV4.ToString()],
        mtu);

    private static NetworkAttachment Checked(NetworkAttachment attachment)
    {
        if (attachment.AddressIndex is < 1 or > SlotAddresses.MaxAddressIndex || attachment.NetworkIndex < 1)
        {
            throw new NetworkException(
                ProblemCodes.Internal,
                $"machine {attachment.Machine} has no possible address (index {attachment.AddressIndex} of 1–{SlotAddresses.MaxAddressIndex}, network {attachment.NetworkIndex})");
        }
        return attachment with { Ports = PublishedPorts.Normalize(attachment.Ports) };
    }
}
