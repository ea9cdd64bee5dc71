using Microsoft.Extensions.Logging;
using Ravel.Agent.Instances;
using Ravel.Agent.Journal;
using Ravel.Agent.Machines;
using Ravel.Agent.Networking;
using Ravel.Contracts.Ids;
using Ravel.Vmm;

namespace Ravel.Agent.Recovery;

/// <summary>
/// What an agent does before it accepts work:
/// <list type="number">
/// <item>the network is made to match the journal: running guests keep theirs, strays go;</item>
/// <item>VMMs, disks, saved memory and logs that belong to nobody go;</item>
/// <item>every machine is taken over where it stands: images leased, VMMs found, links opened, half-made starts finished or undone;</item>
/// <item>what went down with the node or with the host starts again.</item>
/// </list>
/// </summary>
internal sealed class AgentRecovery
{
    private readonly InstanceServices _services;
    private readonly AgentJournal _journal;
    private readonly NodeMachines _machines;

    public AgentRecovery(InstanceServices services, AgentJournal journal, NodeMachines machines)
    {
        _services = services;
        _journal = journal;
        _machines = machines;
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var begin = _services.Time.GetTimestamp();
        var bootId = (await File.ReadAllTextAsync(_services.Options.BootIdFile, cancellationToken)).Trim();
        var records = _journal.Contents.Machines;
        var lastBootId = await _journal.ExchangeBootIdAsync(bootId);
        var isRebooted = lastBootId is not null && lastBootId != bootId;

        await _services.Network.RestoreAsync(Attachments(records), cancellationToken);
        await PurgeStraysAsync(records, cancellationToken);
        await _machines.ResumeAsync(isRebooted);
        _services.Logger.LogInformation(
            "Took over {Machines} machines in {Milliseconds:0} ms", records.Count, _services.Time.GetElapsedTime(begin).TotalMilliseconds);
    }

    /// <summary>The part of the host's network that instances have, by what is in the journal.</summary>
    private static IReadOnlyCollection<NetworkAttachment> Attachments(IEnumerable<MachineRecord> records) =>
        [.. from record in records
            let instance = record.Instance
            where instance?.Facts.Network is not null && IsLive(instance) && StartWorkflow.IsAttached(instance)
            select StartWorkflow.AttachmentOf(record.Id, instance.Id, record.AddressIndex, record.NetworkIndex, instance.Spec)];

    private static bool IsLive(InstanceRecord instance) =>
        instance.State is not (InstanceState.Ended or InstanceState.Waiting or InstanceState.Suspended or InstanceState.Destroying);

    private async Task PurgeStraysAsync(IReadOnlyList<MachineRecord> records, CancellationToken cancellationToken)
    {
        var machines = records.Select(record => record.Id).ToHashSet();
        _services.Disks.RemoveStrays(machines);
        _services.Logs.RemoveStrays(machines);

        var kept = records.Where(record => record.Instance?.Facts.Memory is not null).Select(record => record.Instance!.Id.ToString()).ToHashSet();
        Directory.CreateDirectory(_services.MemoryDirectory);
        foreach (var directory in Directory.EnumerateDirectories(_services.MemoryDirectory))
        {
            if (!kept.Contains(Path.GetFileName(directory)))
                Directory.Delete(directory, recursive: true);
        }

        var live = records.Where(record => record.Instance is { } instance && IsLive(instance)).Select(record => record.Instance!.Id).ToHashSet();
        Directory.CreateDirectory(_services.InstancesRunDirectory);
        foreach (var directory in Directory.EnumerateDirectories(_services.InstancesRunDirectory))
        {
            if (!InstanceId.TryParse(Path.GetFileName(directory), out var instance) || live.Contains(instance))
                continue;
            try
            {
                await _services.Driver.PurgeAsync(instance.ToString(), directory, cancellationToken);
                Directory.Delete(directory, recursive: true);
            }
            catch (Exception e) when (e is IOException or VmmException)
            {
                // Machines that are well do not wait for one that will not go.
                _services.Logger.LogError(e, "What is left of {Instance} could not be removed", instance);
            }
        }
    }
}
