using System.IO.Pipelines;

namespace Ravel.Vmm.Fake;

/// <summary>Two ends of a byte channel in memory; closing one end is an end of file for the other.</summary>
public static class DuplexPipe
{
    /// <param name="capacity">Bytes each direction holds before a writer waits.</param>
    public static (Stream Host, Stream Guest) Create(int capacity = 64 * 1024)
    {
        var ab = NewPipe(capacity);
        var ba = NewPipe(capacity);
        return (new PipeEnd(ba.Reader, ab.Writer, closesPipes: true), new PipeEnd(ab.Reader, ba.Writer, closesPipes: true));
    }

    internal static Pipe NewPipe(int capacity) => new(new PipeOptions(
        pauseWriterThreshold: capacity, resumeWriterThreshold: Math.Max(1, capacity / 2), useSynchronizationContext: false));
}
