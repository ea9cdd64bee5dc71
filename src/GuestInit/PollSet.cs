using Ravel.Linux.Guest;

namespace Ravel.GuestInit;

/// <summary>The descriptors one round of the loop waits for.</summary>
internal sealed class PollSet
{
    private PollEntry[] _entries = new PollEntry[16];
    private int _count;

    public void Clear() => _count = 0;

    /// <summary>Returns the place to ask for the result with. A descriptor that nothing is wanted of must not be added: it may hang up for ever.</summary>
    public int Add(int descriptor, PollEvents wanted)
    {
        if (_count == _entries.Length)
            Array.Resize(ref _entries, _count * 2);
        _entries[_count] = new PollEntry { Fd = descriptor, Events = wanted };
        return _count++;
    }

    public PollEvents Returned(int place) => place < 0 ? PollEvents.None : _entries[place].Returned;

    public void Wait(int timeoutMilliseconds) => Descriptors.Poll(_entries.AsSpan(0, _count), timeoutMilliseconds);
}
