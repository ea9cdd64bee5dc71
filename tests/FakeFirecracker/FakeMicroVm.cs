using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
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

    private readonly Dictionary<string, string> _drives = [];
    private readonly FakeGuest _guest;
    private readonly Lock _gate = new();
    private string? _kernel;
    private string? _vsock;
    private string? _log;
    private bool _isConfigured;
    private bool _isPaused;

    public FakeMicroVm(string id)
    {
        Id = id;
        _guest = new FakeGuest(this);
    }

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
            case "/metrics" or "/serial":
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
        }
        _isConfigured = true;
        switch (path)
        {
            case "/boot-source":
                _kernel = Text(body, "kernel_image_path");
                break;
            case "/drives/{drive_id}":
                if (Text(body, "path_on_host") is not { } drive || !body.TryGetProperty("is_read_only", out _))
                    throw new FaultException("Unable to create the block device: a virtio-block device needs path_on_host and is_read_only");
                _drives[Text(body, "drive_id")!] = drive;
                break;
            case "/vsock":
                _vsock = Text(body, "uds_path");
                break;
        }
    }

    public string ReadDrive(int index)
    {
        using var reader = new StreamReader(_drives.Values.ElementAt(index), Encoding.Latin1);
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
            case "SendCtrlAltDel" when !IsStarted:
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
        var saved = new JsonSnapshot(
            _drives, _vsock, _guest.Config is null ? null : JsonSerializer.Serialize(new Configure(_guest.Config), LinkJson.Default.HostMessage));
        File.WriteAllText(Text(body, "snapshot_path")!, JsonSerializer.Serialize(saved));
        File.WriteAllText(Text(body, "mem_file_path")!, "memory");
    }

    private void Load(JsonElement body)
    {
        if (_isConfigured)
            throw new FaultException("Loading a microVM snapshot not allowed after configuring boot-specific resources.");
        if (body.TryGetProperty("mem_backend", out _) == body.TryGetProperty("mem_file_path", out _))
            throw new FaultException("either `mem_backend` or `mem_file_path` exactly one has to be specified");
        var saved = JsonSerializer.Deserialize<JsonSnapshot>(File.ReadAllText(Text(body, "snapshot_path")!))!;
        foreach (var (id, path) in saved.Drives)
        {
            if (!File.Exists(path))
                throw new FaultException($"Load snapshot error: drive {id}: {path}: No such file or directory", isFatal: true);
            _drives[id] = path;
        }
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

    private static string? Text(JsonElement body, string name) => body.TryGetProperty(name, out var value) ? value.GetString() : null;

    private sealed record JsonSnapshot(Dictionary<string, string> Drives, string? Vsock, string? Configure);
}
