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
internal sealed partial class FakeMicroVm : IFakeMachine
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

    private static string? Text(JsonElement body, string name) => body.TryGetProperty(name, out var value) ? value.GetString() : null;
}
