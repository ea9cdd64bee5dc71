using Ravel.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Processes;

/// <summary>Moves bytes from a pipe or terminal into a stream of the link, as far as there is room.</summary>
internal sealed class Pump
{
    private readonly GuestOutput _output;
    private int _place = -1;

    /// <param name="descriptor">Not blocking; −1 = there is nothing to pump.</param>
    /// <param name="output">Where to.</param>
    public Pump(int descriptor, GuestOutput output)
    {
        Descriptor = descriptor;
        _output = output;
        if (descriptor < 0)
            output.End();
    }

    public int Descriptor { get; private set; }

    public bool IsClosed => Descriptor < 0;

    /// <summary>Open, and the stream would take bytes.</summary>
    public bool HasRoom => Descriptor >= 0 && _output.Room > 0;

    public void AddTo(PollSet polls) =>
        _place = HasRoom ? polls.Add(Descriptor, PollEvents.In) : -1;

    /// <param name="polls">Where <see cref="AddTo"/> asked.</param>
    /// <param name="buffer">Scratch space.</param>
    /// <param name="hasExited">
    /// The process is gone, and what it wrote is in the pipe by now: when that is read, the stream ends, even if a process it left
    /// behind still holds the other end.
    /// </param>
    public void Move(PollSet polls, byte[] buffer, bool hasExited)
    {
        if (Descriptor < 0 || (!hasExited && polls.Returned(_place) == PollEvents.None))
            return;
        do
        {
            var room = Math.Min(_output.Room, buffer.Length);
            if (room == 0)
                return;
            var read = Descriptors.Read(Descriptor, buffer.AsSpan(0, room));
            if (read > 0)
                _output.Write(buffer.AsSpan(0, read));
            else if (read == -Errno.Interrupted || (read == -Errno.Again && !hasExited))
                return;
            else
                Close();
        }
        while (hasExited && Descriptor >= 0);
    }

    public void Close()
    {
        if (Descriptor < 0)
            return;
        Descriptors.Close(Descriptor);
        Descriptor = -1;
        _output.End();
    }
}
