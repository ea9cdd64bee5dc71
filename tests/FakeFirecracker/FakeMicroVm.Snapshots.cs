using System.Text.Json;
using Ravel.Contracts.Link;

namespace Ravel.FakeFirecracker;

internal sealed partial class FakeMicroVm
{
    private void Save(JsonElement body)
    {
        if (!_isPaused)
            throw new FaultException("Create snapshot error: Cannot save the microVM state: The microVM is not paused.");
        var state = Text(body, "snapshot_path")!;
        var memory = Text(body, "mem_file_path")!;
        _generation++;
        var saved = new FakeSnapshot(
            SnapshotFormat,
            (int)_machine["mem_size_mib"]!,
            _generation,
            _drives,
            _networks,
            _machine,
            _balloon,
            _vsock,
            _guest.Config is null ? null : JsonSerializer.Serialize(new Configure(_guest.Config), LinkJson.Default.HostMessage));
        // Without an account of what was written, a diff has everything in it.
        saved.Write(state, memory, isDiff: Text(body, "snapshot_type") == "Diff" && (bool)_machine["track_dirty_pages"]!);
    }

    private void Load(JsonElement body)
    {
        if (_isConfigured)
            throw new FaultException("Loading a microVM snapshot not allowed after configuring boot-specific resources.");
        if (body.TryGetProperty("mem_backend", out var backend) == body.TryGetProperty("mem_file_path", out var memory))
            throw new FaultException("either `mem_backend` or `mem_file_path` exactly one has to be specified");
        var saved = FakeSnapshot.TryRead(Text(body, "snapshot_path")!)
            ?? throw new FaultException("Load snapshot error: Failed to get snapshot state from file: CRC64 validation failed", isFatal: true);
        if (saved.Format != SnapshotFormat)
            throw new FaultException($"Load snapshot error: Specified snapshot data format version is not supported: {saved.Format}", isFatal: true);
        if (saved.MemoryFault(backend.ValueKind == JsonValueKind.Object ? Text(backend, "backend_path")! : memory.GetString()!) is { } fault)
            throw new FaultException($"Load snapshot error: {fault}", isFatal: true);
        foreach (var (id, drive) in saved.Drives)
        {
            var path = (string)drive["path_on_host"]!;
            if (!IsVisible(path))
                throw new FaultException($"Load snapshot error: drive {id}: {path}: No such file or directory", isFatal: true);
            CheckRights(path, (bool)drive["is_read_only"]!);
            _drives[id] = drive;
        }
        foreach (var (id, network) in saved.Networks)
            _networks[id] = network;
        if (body.TryGetProperty("network_overrides", out var overrides))
        {
            foreach (var entry in overrides.EnumerateArray())
            {
                if (!_networks.TryGetValue(Text(entry, "iface_id")!, out var network))
                    throw new FaultException("Load snapshot error: Unknown Network Device.", isFatal: true);
                network["host_dev_name"] = Text(entry, "host_dev_name");
            }
        }
        foreach (var network in _networks.Values)
            CheckTap((string)network["host_dev_name"]!);
        _machine = saved.Machine;
        // Not part of a snapshot.
        _machine["track_dirty_pages"] = body.TryGetProperty("track_dirty_pages", out var tracks) && tracks.GetBoolean();
        _balloon = saved.Balloon;
        _generation = saved.Generation;
        _vsock = body.TryGetProperty("vsock_override", out var other) ? Text(other, "uds_path") : saved.Vsock;
        if (_vsock is not null && File.Exists(_vsock))
            throw new FaultException("Load snapshot error: vsock: Address in use (os error 98)", isFatal: true);
        Bind();
        IsStarted = true;
        _isPaused = true;
        _guest.Pause();
        if (saved.Configure is not null && JsonSerializer.Deserialize(saved.Configure, LinkJson.Default.HostMessage) is Configure configure)
            _guest.Continue(configure.Config);
        _ = RunGuestAsync();
        if (body.TryGetProperty("resume_vm", out var resume) && resume.GetBoolean())
            SetState("Resumed");
    }
}
