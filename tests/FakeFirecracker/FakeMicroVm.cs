using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Ravel.Contracts.Link;
using Ravel.Vmm;
using Ravel.Vmm.Fake;

namespace Ravel.FakeFirecracker;

/// <summary>A refusal: HTTP 400 with these words as <c>fault_message</c>.</summary>
internal sealed class FaultException : Exception
{
    public FaultException(string message, bool isFatal = false)
        : base(message) => IsFatal = isFatal;

    /// <summary>Firecracker answers, then exits 1.</summary>
    public bool IsFatal { get; }
}

/// <summary>
/// What Firecracker knows of its VM, and in place of the VM a scripted guest that dials out over the vsock's Unix socket.
/// </summary>
internal sealed class FakeMicroVm : IFakeMachine
{
    private const int VsockDialMilliseconds = 5;

    private readonly Dictionary<string, JsonObject> _drives = [];
    private readonly Dictionary<string, JsonObject> _networks = [];
    private readonly bool _isJailed = Environment.GetEnvironmentVariable("FAKE_FIRECRACKER_JAILED") == "1";
    private readonly FakeGuest _guest;
    private readonly Lock _gate = new();
    private string? _kernel;
    private string? _vsock;
    private string? _log;
    private string? _metrics;
    private JsonObject _machine = new() { ["vcpu_count"] = 1, ["mem_size_mib"] = 128, ["smt"] = false, ["track_dirty_pages"] = false };
    private JsonObject? _balloon;
    private int _generation;
    private bool _isConfigured;
    private bool _isPaused;

    public FakeMicroVm(string id)
    {
        Id = id;
        _guest = new FakeGuest(this);
    }

    public static string Version => Environment.GetEnvironmentVariable("FAKE_FIRECRACKER_VERSION") ?? "1.17.0";

    public static string SnapshotFormat => Environment.GetEnvironmentVariable("FAKE_FIRECRACKER_FORMAT") ?? "11.0.0";

    public string Id { get; }

    public TimeProvider Time => TimeProvider.System;

    public bool IsStarted { get; private set; }

    public string State => !IsStarted ? "Not started" : _isPaused ? "Paused" : "Running";

    /// <summary>Applies a request whose form is right.</summary>
    public void Apply(string path, JsonElement body)
    {
        switch (path)
        {
            case "/logger":
                _log = Text(body, "log_path") ?? _log;
                return;
            case "/metrics":
                _metrics = Text(body, "metrics_path");
                return;
            case "/serial":
                return;
            case "/snapshot/load":
                Load(body);
                return;
            case "/snapshot/create":
                Save(body);
                return;
            case "/vm":
                SetState(Text(body, "state")!);
                return;
            case "/actions":
                Act(Text(body, "action_type")!);
                return;
            case "/drives/{drive_id}" when IsStarted:
                Update(_drives, Text(body, "drive_id")!, body, "Invalid block device ID!");
                return;
            case "/network-interfaces/{iface_id}" when IsStarted:
                Update(_networks, Text(body, "iface_id")!, body, "Invalid interface ID");
                return;
            case "/balloon" or "/balloon/statistics" when IsStarted:
                if (_balloon is null)
                    throw new FaultException("Balloon update error: Device not found");
                Merge(_balloon, body);
                return;
        }
        _isConfigured = true;
        switch (path)
        {
            case "/machine-config":
                Merge(_machine, body);
                break;
            case "/boot-source":
                _kernel = Text(body, "kernel_image_path");
                break;
            case "/balloon":
                _balloon = Copy(body);
                break;
            case "/drives/{drive_id}":
                if (Text(body, "path_on_host") is not { } drive || !body.TryGetProperty("is_read_only", out var isReadOnly))
                    throw new FaultException("Unable to create the block device: a virtio-block device needs path_on_host and is_read_only");
                CheckRights(drive, isReadOnly.GetBoolean());
                _drives[Text(body, "drive_id")!] = Copy(body);
                break;
            case "/network-interfaces/{iface_id}":
                CheckTap(Text(body, "host_dev_name")!);
                _networks[Text(body, "iface_id")!] = Copy(body);
                break;
            case "/vsock":
                _vsock = Text(body, "uds_path");
                break;
        }
    }

    /// <summary>The answer to a GET.</summary>
    public object Describe(string path) => path switch
    {
        "/" => new { id = Id, state = State, vmm_version = Version, app_name = "Firecracker" },
        "/version" => new { firecracker_version = Version },
        "/machine-config" => _machine,
        "/balloon" => _balloon ?? throw new FaultException("Balloon config error: Device not found"),
        "/balloon/statistics" => Statistics(),
        _ => new JsonObject
        {
            ["machine-config"] = _machine.DeepClone(),
            ["drives"] = new JsonArray([.. _drives.Values.Select(drive => drive.DeepClone())]),
            ["network-interfaces"] = new JsonArray([.. _networks.Values.Select(network => network.DeepClone())]),
            ["vsock"] = _vsock is null ? null : new JsonObject { ["guest_cid"] = 3, ["uds_path"] = _vsock },
            ["balloon"] = _balloon?.DeepClone(),
            ["logger"] = null,
            ["metrics"] = null,
        },
    };

    /// <summary>
    /// Whether a path leads to a file. In a jail "/" is the directory it runs in, and a link that leaves it leads nowhere.
    /// </summary>
    public bool IsVisible(string path)
    {
        if (!_isJailed)
            return File.Exists(path);
        var inside = path.TrimStart('/');
        return File.Exists(inside) && new FileInfo(inside).LinkTarget is null;
    }

    /// <summary>Drives are in the order they were named in.</summary>
    public string ReadDrive(int index)
    {
        using var reader = new StreamReader((string)_drives.Values.ElementAt(index)["path_on_host"]!, Encoding.Latin1);
        return reader.ReadLine() ?? "";
    }

    public void WriteConsole(string text)
    {
        lock (_gate)
            Console.Out.Write(text);
    }

    public void End(VmmExit exit)
    {
        var code = exit.Kind == VmmExitKind.Lost ? 1 : 0;
        Log(code == 0 ? "Firecracker exiting successfully. exit_code=0" : $"Firecracker exiting with error. exit_code={code}");
        Console.Out.Flush();
        Environment.Exit(code);
    }

    private void Act(string action)
    {
        switch (action)
        {
            case "InstanceStart" when IsStarted:
                throw new FaultException("The requested operation is not supported after starting the microVM.");
            case "InstanceStart":
                if (_kernel is null)
                    throw new FaultException("Cannot start microvm without kernel configuration.");
                if (!LooksLikeAKernel(_kernel))
                    throw new FaultException("Cannot load kernel due to invalid memory configuration or invalid kernel image: Invalid Elf magic number");
                Bind();
                IsStarted = true;
                WriteConsole("fake: booting\n");
                _ = RunGuestAsync();
                break;
            case "FlushMetrics" when IsStarted:
                WriteMetrics();
                break;
            case "FlushMetrics" or "SendCtrlAltDel" when !IsStarted:
                throw new FaultException("The requested operation is not supported before starting the microVM.");
        }
    }

    private void SetState(string state)
    {
        _isPaused = state == "Paused";
        if (_isPaused)
            _guest.Pause();
        else
            _guest.Resume();
    }

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

    /// <summary>Firecracker listens for the host's connections here; the file stays when it exits.</summary>
    private void Bind()
    {
        if (_vsock is null)
            return;
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint(_vsock));
        }
        catch (SocketException e)
        {
            throw new FaultException($"Cannot create vsock: {e.Message}");
        }
        socket.Listen();
    }

    private async Task RunGuestAsync()
    {
        while (_vsock is not null)
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                var port = LinkProtocol.VsockPort.ToString(CultureInfo.InvariantCulture);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint($"{_vsock}_{port}"));
                await _guest.ServeAsync(new NetworkStream(socket, ownsSocket: true), CancellationToken.None);
            }
            catch (SocketException)
            {
                // Nobody listens yet, or no longer.
                socket.Dispose();
            }
            await Task.Delay(VsockDialMilliseconds);
        }
    }

    private void Log(string line)
    {
        if (_log is null)
        {
            WriteConsole(line + "\n");
            return;
        }
        // As Firecracker opens it: for reading, too, so that a pipe without a reader does not block.
        using var stream = new FileStream(_log, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        stream.Write(Encoding.UTF8.GetBytes($"{Id} [anonymous-instance:main:INFO] {line}\n"));
    }

    private static bool LooksLikeAKernel(string path)
    {
        using var file = File.OpenRead(path);
        Span<byte> start = stackalloc byte[0x206];
        var length = file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
        return start.StartsWith((ReadOnlySpan<byte>)[0x7f, (byte)'E', (byte)'L', (byte)'F'])
            || (length == start.Length && start[0x202..].SequenceEqual("HdrS"u8));
    }

    private static JsonObject Copy(JsonElement body) => JsonSerializer.Deserialize<JsonObject>(body)!;

    private static void Merge(JsonObject into, JsonElement body)
    {
        foreach (var (name, value) in Copy(body))
            into[name] = value?.DeepClone();
    }

    private static void Update(Dictionary<string, JsonObject> devices, string id, JsonElement body, string unknown)
    {
        if (!devices.TryGetValue(id, out var device))
            throw new FaultException(unknown);
        Merge(device, body);
    }

    /// <summary>Opens a drive as Firecracker does, with the rights of the user it runs as.</summary>
    private static void CheckRights(string path, bool isReadOnly)
    {
        try
        {
            File.OpenHandle(path, FileMode.Open, isReadOnly ? FileAccess.Read : FileAccess.ReadWrite, FileShare.ReadWrite).Dispose();
        }
        catch (UnauthorizedAccessException)
        {
            throw new FaultException($"Drive config error: Unable to open the backing file: Permission denied (os error 13) {path}");
        }
    }

    /// <summary>As root Firecracker makes a tap that is missing; a jailed one has not the right.</summary>
    private void CheckTap(string tap)
    {
        if (_isJailed && !Directory.Exists($"/sys/class/net/{tap}"))
            throw new FaultException($"Network config error: Open tap device failed: Operation not permitted (os error 1), {tap}");
    }

    private object Statistics()
    {
        if (_balloon is null || (int?)_balloon["stats_polling_interval_s"] is null or 0)
            throw new FaultException("Internal VMM error: Balloon statistics are not enabled");
        var mib = (int)_balloon["amount_mib"]!;
        return new { target_pages = mib * 256, actual_pages = mib * 256, target_mib = mib, actual_mib = mib, available_memory = 64L << 20 };
    }

    /// <summary>What was counted since the line before; each of these is the same.</summary>
    private void WriteMetrics()
    {
        if (_metrics is null)
            return;
        using var stream = new FileStream(_metrics, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        stream.Write("""{"utc_timestamp_ms":1,"block":{"read_bytes":4096,"write_bytes":512},"net":{"rx_bytes_count":64,"tx_bytes_count":32}}"""u8);
        stream.Write("\n"u8);
    }

    private static string? Text(JsonElement body, string name) => body.TryGetProperty(name, out var value) ? value.GetString() : null;
}
