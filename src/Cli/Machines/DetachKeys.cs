namespace Ravel.Cli.Machines;

/// <summary>Finds Ctrl-P Ctrl-Q in what is typed, as docker does. A Ctrl-P is held back until the next key says what it was.</summary>
internal sealed class DetachKeys
{
    private const byte CtrlP = 16;
    private const byte CtrlQ = 17;

    private bool _held;

    /// <param name="buffer">What was typed, at its beginning; has room for one byte more.</param>
    /// <param name="length">How much.</param>
    /// <returns>How much of the buffer is to be sent now; −1 = detach.</returns>
    public int Filter(Span<byte> buffer, int length)
    {
        if (length == 0)
            return 0;
        if (_held)
        {
            if (buffer[0] == CtrlQ)
                return -1;
            buffer[..length].CopyTo(buffer[1..]);
            buffer[0] = CtrlP;
            length++;
        }
        var keys = buffer[..length];
        for (var i = _held ? 1 : 0; i + 1 < length; i++)
        {
            if (keys[i] == CtrlP && keys[i + 1] == CtrlQ)
                return -1;
        }
        _held = keys[^1] == CtrlP && (length > 1 || !_held);
        return _held ? length - 1 : length;
    }
}
