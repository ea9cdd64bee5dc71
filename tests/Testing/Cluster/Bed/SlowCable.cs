using System.Threading.Channels;
using Microsoft.Win32.SafeHandles;
using Ravel.Linux.Network;
using Ravel.Linux.Processes;
using Ravel.Testing.Network;

namespace Ravel.Testing.Cluster.Bed;

/// <summary>Two taps, out of each of which comes what went into the other, some time later. For kernels without netem.</summary>
internal sealed class SlowCable : IDisposable
{
    private readonly NetworkNamespaceThread _maker;
    private readonly SafeFileHandle[] _ends;
    private readonly Thread[] _readers;
    private readonly TimeSpan _delay;
    private volatile bool _stopping;

    private SlowCable(NetworkNamespaceThread maker, SafeFileHandle[] ends, TimeSpan delay)
    {
        (_maker, _ends, _delay) = (maker, ends, delay);
        _readers = [.. ends.Select((from, i) => new Thread(() => Carry(from, ends[1 - i])) { IsBackground = true })];
        foreach (var reader in _readers)
            reader.Start();
    }

    /// <param name="networkNamespace">Where the taps go.</param>
    /// <param name="near">Name of one.</param>
    /// <param name="far">Name of the other.</param>
    /// <param name="delay">Of each frame.</param>
    public static async Task<SlowCable> CreateAsync(string networkNamespace, string near, string far, TimeSpan delay)
    {
        // Made in a namespace of this process and moved: a tap stays with who opened it.
        var maker = new NetworkNamespaceThread("cable " + near);
        var ends = await maker.RunAsync(async () =>
        {
            SafeFileHandle[] made = [Tap.Open(near), Tap.Open(far)];
            foreach (var name in (string[])[near, far])
                await CommandRunner.RunCheckedAsync("ip", ["link", "set", name, "netns", networkNamespace]);
            return made;
        });
        return new SlowCable(maker, ends, delay);
    }

    public void Dispose()
    {
        _stopping = true;
        foreach (var reader in _readers)
            reader.Join();
        // Gone with them, wherever they are now.
        foreach (var end in _ends)
            end.Dispose();
        _maker.Dispose();
    }

    private void Carry(SafeFileHandle from, SafeFileHandle to)
    {
        var buffer = new byte[65536];
        var underWay = Channel.CreateUnbounded<(long At, byte[] Frame)>();
        var delivering = DeliverAsync(underWay.Reader, to);
        while (!_stopping)
        {
            var length = TapFrames.Read(from, buffer, milliseconds: 50);
            if (length < 0)
                break;
            if (length > 0)
                underWay.Writer.TryWrite((TimeProvider.System.GetTimestamp(), buffer[..length]));
        }
        underWay.Writer.Complete();
        delivering.Wait();
    }

    private async Task DeliverAsync(ChannelReader<(long At, byte[] Frame)> frames, SafeFileHandle to)
    {
        await foreach (var (at, frame) in frames.ReadAllAsync())
        {
            var left = _delay - TimeProvider.System.GetElapsedTime(at);
            if (left > TimeSpan.Zero)
                await Task.Delay(left);
            _ = TapFrames.Write(to, frame);
        }
    }
}
