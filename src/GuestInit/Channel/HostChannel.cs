using Ravel.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Channel;

/// <summary>The byte channel under the link, as the loop sees it.</summary>
internal abstract class HostChannel
{
    private const int ShortestPause = 5;
    private const int LongestPause = 100;

    private readonly byte[] _buffer = new byte[GuestLink.MaxReceive];
    private int _pause = ShortestPause;
    private int _place = -1;
    private long _resumeAt;
    private int _hangUps;

    protected HostChannel(GuestLink link)
    {
        Link = link;
    }

    public abstract string Name { get; }

    protected GuestLink Link { get; }

    protected int Descriptor { get; set; } = -1;

    /// <summary>The serial port the VMM gave us, or else vsock.</summary>
    public static HostChannel Open(GuestLink link, Setup.GuestModuleList modules)
    {
        modules.Load("link");
        if (SerialChannel.FindPort() is { } port)
            return new SerialChannel(link, port);
        modules.Load("vsock");
        return new VsockChannel(link);
    }

    /// <summary>Milliseconds until the channel wants to be looked at again though nothing happens; −1 = never.</summary>
    public int Timeout(long now) => _resumeAt == 0 ? -1 : (int)Math.Max(0, _resumeAt - now);

    public void AddTo(PollSet polls, long now)
    {
        _place = -1;
        if (_resumeAt > now)
            return;
        _resumeAt = 0;
        if (!TryPrepare())
        {
            Pause(now);
            return;
        }
        var hasOutput = IsConnecting || Link.Output.Length > 0;
        _place = polls.Add(Descriptor, hasOutput ? PollEvents.In | PollEvents.Out : PollEvents.In);
    }

    public void Move(PollSet polls, long now)
    {
        var returned = polls.Returned(_place);
        if (returned == PollEvents.None)
        {
            if (_place >= 0)
                _hangUps = 0;
            return;
        }
        if (IsConnecting)
        {
            if (!TryFinishConnecting())
                Lose(now);
            return;
        }
        // What was written before the host hung up is still to be read.
        if ((returned & PollEvents.In) != 0)
        {
            var read = Descriptors.Read(Descriptor, _buffer);
            if (read > 0)
            {
                _pause = ShortestPause;
                _hangUps = 0;
                if (!Link.Receive(_buffer.AsSpan(0, read)) && !SurvivesViolation)
                {
                    Lose(now);
                    return;
                }
            }
            else if (read == 0)
            {
                HangUp(now);
                return;
            }
            else if (read is not (-Errno.Again or -Errno.Interrupted))
            {
                Lose(now);
                return;
            }
        }
        else if ((returned & (PollEvents.HangUp | PollEvents.Error)) != 0)
        {
            HangUp(now);
            return;
        }
        Write(now);
    }

    /// <summary>Opens or dials if need be. False: try again later.</summary>
    protected abstract bool TryPrepare();

    protected virtual bool IsConnecting => false;

    protected virtual bool TryFinishConnecting() => true;

    /// <summary>After bytes that are no protocol the channel is still the one we have.</summary>
    protected abstract bool SurvivesViolation { get; }

    /// <summary>Looks in a row that have to find no host before it is believed to be gone.</summary>
    protected virtual int HangUpsToLose => 1;

    /// <summary>The host is gone.</summary>
    protected abstract void Disconnect();

    private void HangUp(long now)
    {
        if (++_hangUps >= HangUpsToLose)
            Lose(now);
        else
            Pause(now);
    }

    private void Write(long now)
    {
        while (true)
        {
            var output = Link.Output.Span;
            if (output.IsEmpty)
                return;
            var written = Descriptors.Write(Descriptor, output);
            if (written == -Errno.Interrupted)
                continue;
            if (written == -Errno.Again)
                return;
            if (written <= 0)
            {
                Lose(now);
                return;
            }
            Link.Written(written);
            if (written < output.Length)
                return;
        }
    }

    private void Lose(long now)
    {
        Link.Disconnected();
        Disconnect();
        Pause(now);
    }

    private void Pause(long now)
    {
        _resumeAt = now + _pause;
        _pause = Math.Min(_pause * 2, LongestPause);
    }
}
