using System.Diagnostics;
using System.Text;
using System.Threading.Channels;

namespace Ravel.Testing.EndToEnd;

/// <summary>A program that runs while a test goes on; its standard output is read line by line.</summary>
public sealed class BackgroundProgram : IAsyncDisposable
{
    private readonly Process _process;
    private readonly Channel<string> _lines = Channel.CreateUnbounded<string>();
    private readonly StringBuilder _error = new();
    private readonly Task _reading;

    public BackgroundProgram(string program, IReadOnlyList<string> arguments)
    {
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
#pragma warning disable RS0030 // A test's own background process, ended by Dispose.
        _process = Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start");
#pragma warning restore RS0030
        _reading = Task.WhenAll(ReadLinesAsync(), ReadErrorAsync());
    }

    public int Pid => _process.Id;

    public TextWriter Input => _process.StandardInput;

    public string Error
    {
        get
        {
            lock (_error)
                return _error.ToString();
        }
    }

    /// <summary>The next line it prints; fails the test after <paramref name="timeout"/> (30 s) or at its end.</summary>
    public async Task<string> ReadLineAsync(TimeSpan? timeout = null)
    {
        using var deadline = new CancellationTokenSource(timeout ?? TimeSpan.FromSeconds(30));
        try
        {
            return await _lines.Reader.ReadAsync(deadline.Token);
        }
        catch (Exception e) when (e is OperationCanceledException or ChannelClosedException)
        {
            throw new InvalidOperationException($"no further line; standard error: {Error}", e);
        }
    }

    /// <summary>Its exit code, once it ends by itself.</summary>
    public async Task<int> WaitAsync(TimeSpan? timeout = null)
    {
        using var deadline = new CancellationTokenSource(timeout ?? TimeSpan.FromSeconds(60));
        await _process.WaitForExitAsync(deadline.Token);
        await _reading;
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        await _reading;
        _process.Dispose();
    }

    private async Task ReadLinesAsync()
    {
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
            _lines.Writer.TryWrite(line);
        _lines.Writer.Complete();
    }

    private async Task ReadErrorAsync()
    {
        while (await _process.StandardError.ReadLineAsync() is { } line)
        {
            lock (_error)
                _error.AppendLine(line);
        }
    }
}
