using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Cli.Output;

/// <summary>
/// Standard output and standard error: colours and redrawn lines on a terminal, plain text in a pipe. <c>NO_COLOR</c> (see
/// no-color.org) and <c>TERM=dumb</c> turn colours off.
/// </summary>
internal sealed class Terminal : IDisposable
{
    private const int BrokenPipe = 32;

    private Terminal(Stream output, TextWriter error, bool outputIsTerminal, bool errorIsTerminal, bool colour)
    {
        Stream = output;
        Out = new StreamWriter(output, new UTF8Encoding(false), 16 * 1024, leaveOpen: true) { NewLine = "\n" };
        Error = error;
        IsTerminal = outputIsTerminal;
        ErrorIsTerminal = errorIsTerminal;
        HasColour = outputIsTerminal && colour;
        ErrorHasColour = errorIsTerminal && colour;
    }

    /// <summary>Standard output for bytes as they are.</summary>
    public Stream Stream { get; }

    /// <summary>Standard output for text; buffered until <see cref="Flush"/>.</summary>
    public TextWriter Out { get; }

    public TextWriter Error { get; }

    public bool IsTerminal { get; }

    public bool ErrorIsTerminal { get; }

    public bool HasColour { get; }

    public bool ErrorHasColour { get; }

    public static Terminal OfProcess(Func<string, string?> environment) =>
        new(Open(1), new StreamWriter(Open(2), new UTF8Encoding(false)) { NewLine = "\n", AutoFlush = true }, !Console.IsOutputRedirected, !Console.IsErrorRedirected, WantsColour(environment));

    /// <summary>For tests.</summary>
    public static Terminal Over(Stream output, TextWriter error, bool isTerminal, Func<string, string?> environment) =>
        new(output, error, isTerminal, isTerminal, WantsColour(environment));

    public string Bold(string text) => HasColour ? $"\e[1m{text}\e[0m" : text;

    public void Flush() => Out.Flush();

    public void Dispose()
    {
        Out.Dispose();
        Stream.Dispose();
    }

    /// <summary>Whether a write failed because the reader of the pipe has gone, as <c>ravel logs -f | head</c> does to us.</summary>
    public static bool IsBrokenPipe(IOException error) => error.HResult == BrokenPipe;

    private static bool WantsColour(Func<string, string?> environment) =>
        string.IsNullOrEmpty(environment("NO_COLOR")) && environment("TERM") is not ("dumb" or null or "");

    /// <summary>
    /// Console's own stream swallows EPIPE, with which <c>ravel logs -f | head</c> would go on for ever; a FileStream reports it. A
    /// FileStream in turn writes a regular file at an offset of its own, so that two writers of one open file overwrite
    /// each other; there Console's stream is right. (Console.Out and Console.Error would also switch a terminal's keypad mode.)
    /// </summary>
    private static Stream Open(int descriptor)
    {
        try
        {
            var stream = new FileStream(new SafeFileHandle(descriptor, ownsHandle: false), FileAccess.Write, bufferSize: 0);
            if (!stream.CanSeek)
                return stream;
            stream.Dispose();
        }
        catch (Exception e) when (e is IOException or ArgumentException or UnauthorizedAccessException)
        {
            // Closed, or nothing that FileStream takes.
        }
        return descriptor == 1 ? Console.OpenStandardOutput() : Console.OpenStandardError();
    }
}
