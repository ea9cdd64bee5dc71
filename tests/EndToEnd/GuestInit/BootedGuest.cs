using System.Text;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Testing.Guest;

namespace Ravel.EndToEnd.GuestInit;

/// <summary>A booted guest with a link, and the few things tests do with one.</summary>
internal sealed class BootedGuest : IAsyncDisposable
{
    private readonly RawQemu _vm;
    private uint _session;

    private BootedGuest(RawQemu vm, HostLink link)
    {
        _vm = vm;
        Link = link;
    }

    public HostLink Link { get; private set; }

    public string Console => _vm.ReadConsole();

    public static async Task<BootedGuest> BootAsync(GuestFiles files, string rootfs, string disk, params string[] more)
    {
        var vm = RawQemu.Start(
            files.NewRunDirectory(), new RawQemuSpec(files.Kernel, files.Initramfs, [(rootfs, true), (disk, false)]) { More = more });
        try
        {
            return new BootedGuest(vm, await vm.ConnectAsync(new HostHello(1, 1, 0, 0), TestContext.Current.CancellationToken));
        }
        catch
        {
            TestContext.Current.SendDiagnosticMessage(vm.ReadConsole());
            await vm.DisposeAsync();
            throw;
        }
    }

    public async Task ReconnectAsync(ulong stdoutOffset, ulong stderrOffset = 0)
    {
        await Link.DisposeAsync();
        Link = await _vm.ConnectAsync(new HostHello(1, 1, stdoutOffset, stderrOffset), TestContext.Current.CancellationToken);
    }

    public static GuestConfig Config(ProcessConfig workload) => new()
    {
        Hostname = "guest-1",
        Root = new RootConfig("/dev/vda", "/dev/vdb"),
        Workload = workload,
        Entropy = Convert.ToBase64String(new byte[32]),
        UnixNanoseconds = 1_900_000_000_000_000_000,
    };

    public static ProcessConfig Shell(string script) => new() { Arguments = ["sh", "-c", script] };

    public ValueTask SendAsync(HostMessage message) => Link.SendAsync(message, TestContext.Current.CancellationToken);

    public async Task<T> ReceiveAsync<T>()
        where T : GuestMessage
    {
        var message = await Link.Messages.ReadAsync(TestContext.Current.CancellationToken);
        return message as T ?? throw new InvalidOperationException($"{message}\n{Console}");
    }

    public async Task<(int ExitCode, string Output, string Error)> ExecAsync(ProcessConfig process, string? input = null)
    {
        var session = ++_session;
        await SendAsync(new StartExec(session, process, input is not null));
        var output = ReadAsync(Link.OpenRead(LinkStreams.ExecStdout(session)));
        var error = ReadAsync(Link.OpenRead(LinkStreams.ExecStderr(session)));
        if (input is not null)
        {
            var stdin = Link.OpenWrite(LinkStreams.ExecStdin(session));
            await stdin.WriteAsync(Encoding.UTF8.GetBytes(input), TestContext.Current.CancellationToken);
            await stdin.CompleteAsync(TestContext.Current.CancellationToken);
        }
        var end = await Link.Messages.ReadAsync(TestContext.Current.CancellationToken);
        return end switch
        {
            ExecExited exited when exited.Session == session => (exited.ExitCode, await output, await error),
            ExecFailed failed when failed.Session == session => (failed.ExitCode, "", failed.Message),
            _ => throw new InvalidOperationException($"unexpected {end}"),
        };
    }

    public Task<(int ExitCode, string Output, string Error)> ExecAsync(string script) => ExecAsync(Shell(script));

    /// <summary>To the end of the stream.</summary>
    public static async Task<string> ReadAsync(ILinkReader reader, int atMost = int.MaxValue)
    {
        var text = new MemoryStream();
        var buffer = new byte[32 * 1024];
        int read;
        while (text.Length < atMost && (read = await reader.ReadAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, atMost - text.Length)), TestContext.Current.CancellationToken)) > 0)
        {
            text.Write(buffer, 0, read);
            reader.Consume(reader.Offset);
        }
        return Encoding.UTF8.GetString(text.ToArray());
    }

    /// <summary>The guest ends by itself.</summary>
    public async Task PowerOffAsync()
    {
        await SendAsync(new PowerOff());
        var result = await _vm.Exited.WaitAsync(TestContext.Current.CancellationToken);
        Assert.True(result.ExitCode == 0, $"{result.Error}\n{Console}");
    }

    public async ValueTask DisposeAsync()
    {
        await Link.DisposeAsync();
        await _vm.DisposeAsync();
    }
}
