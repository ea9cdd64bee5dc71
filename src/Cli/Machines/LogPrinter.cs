using System.Text;
using Ravel.Cli.Output;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>Puts log lines where the workload put them: stdout on ours, stderr and what Ravel has to say on stderr.</summary>
internal sealed class LogPrinter
{
    private readonly Terminal _terminal;
    private readonly bool _json;
    private readonly bool _timestamps;
    private readonly Stream _error = Console.OpenStandardError();
    private string? _open;

    public LogPrinter(Terminal terminal, bool json, bool timestamps)
    {
        _terminal = terminal;
        _json = json;
        _timestamps = timestamps;
    }

    public void Print(LogLine line)
    {
        if (_json)
        {
            JsonOutput.Line(_terminal, line);
            _terminal.Flush();
            return;
        }
        var bytes = line.Data ?? Encoding.UTF8.GetBytes(line.Message ?? "");
        if (line.Stream == "system")
        {
            var text = $"ravel: {SafeText.Of(Encoding.UTF8.GetString(bytes).TrimEnd('\n'))}";
            _error.Write(Encoding.UTF8.GetBytes(Colour.Faint.Paint(text, _terminal.ErrorHasColour) + "\n"));
            return;
        }
        var to = line.Stream == "stderr" ? _error : _terminal.Stream;
        // A line that came in pieces gets one timestamp.
        if (_timestamps && _open != line.Stream)
            to.Write(Encoding.UTF8.GetBytes($"{line.Timestamp} "));
        to.Write(bytes);
        _open = bytes is [.., (byte)'\n'] ? null : line.Stream;
    }
}
