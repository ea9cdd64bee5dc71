using CsCheck;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Testing.Link;

namespace Ravel.Unit.Link;

/// <summary>A host may vanish at any byte: the next one goes on, and the workload's output is neither lost nor doubled.</summary>
public sealed class ResumeTests
{
    private static readonly CancellationToken Deadline = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Sessions_over_a_serial_port_that_keeps_or_loses_bytes_lose_and_double_nothing()
    {
        await Gen.Select(Gen.Int[0, 1_000_000], Gen.Int[1000, 600_000], Gen.Int[100, 40_000]).SampleAsync(
            async (seed, length, capacity) =>
            {
                var random = new Random(seed);
                var output = new byte[length];
                random.NextBytes(output);
                // Text that looks like the beginning of a session must not confuse anybody.
                LinkProtocol.Magic.CopyTo(output.AsSpan(length / 2));

                var port = new FakeSerialPort(capacity);
                var guest = new ScriptedGuest();
                using var end = CancellationTokenSource.CreateLinkedTokenSource(Deadline);
                var running = guest.RunAsync(port.Guest, isLossy: true, end.Token);
                var writing = Task.Run(async () =>
                {
                    await guest.WriteStdoutAsync(output);
                    guest.Exit(0);
                });

                var durable = new List<byte>();
                var isWhole = false;
                while (!isWhole)
                    isWhole = await SessionAsync(port, random, durable);
                Assert.Equal(output, durable);
                await writing;
                await end.CancelAsync();
                await running;
            },
            iter: 30, threads: 2);
    }

    /// <summary>One session that is cut at a random moment. True when it saw the end of the output.</summary>
    private static async Task<bool> SessionAsync(FakeSerialPort port, Random random, List<byte> durable)
    {
        await using var channel = new CutStream(port.ConnectHost(), readLimit: random.Next(1, 200_000), writeLimit: random.Next(1, 200_000));
        try
        {
            await using var link = await HostLink.ConnectAsync(
                channel, isLossy: true, new HostHello(1, 1, (ulong)durable.Count, 0), Deadline);
            var reader = link.OpenRead(LinkStreams.Stdout, (ulong)durable.Count);
            var buffer = new byte[random.Next(1, 50_000)];
            while (true)
            {
                var read = await reader.ReadAsync(buffer, Deadline);
                if (read == 0)
                    return true;
                durable.AddRange(buffer.AsSpan(0, read));
                reader.Consume((ulong)durable.Count);
                if (random.Next(20) == 0)
                    await link.SendAsync(new SignalWorkload(0), Deadline);
            }
        }
        catch (LinkException)
        {
            if (random.Next(2) == 0)
                port.LoseOutput();
            return false;
        }
    }

    [Fact]
    public async Task A_host_that_died_within_its_own_preamble_or_flush_does_not_keep_the_next_out()
    {
        foreach (var cut in (int[])[1, 7, 8, 20, 23, 24, 25, 30, 100, LinkProtocol.FlushLength - 1, LinkProtocol.FlushLength + 3, LinkProtocol.FlushLength + 23, LinkProtocol.FlushLength + 50])
        {
            var port = new FakeSerialPort(100_000);
            var guest = new ScriptedGuest();
            using var end = CancellationTokenSource.CreateLinkedTokenSource(Deadline);
            var running = guest.RunAsync(port.Guest, isLossy: true, end.Token);
            for (var i = 0; i < 3; i++)
            {
                await Assert.ThrowsAsync<LinkException>(() => HostLink.ConnectAsync(
                    new CutStream(port.ConnectHost(), int.MaxValue, cut), isLossy: true, new HostHello(1, 1, 0, 0), Deadline));
            }
            var link = await HostLink.ConnectAsync(port.ConnectHost(), isLossy: true, new HostHello(1, 1, 0, 0), Deadline);
            Assert.Equal(GuestPhase.Waiting, link.GuestHello.Phase);
            await link.DisposeAsync();
            await end.CancelAsync();
            await running;
        }
    }

    /// <summary>A connection that breaks after so many bytes, at whichever byte that is.</summary>
    private sealed class CutStream(Stream inner, int readLimit, int writeLimit) : Stream
    {
        private int _readLeft = readLimit;
        private int _writeLeft = writeLimit;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_readLeft == 0)
                throw new IOException("cut");
            var read = await inner.ReadAsync(buffer[..Math.Min(buffer.Length, _readLeft)], cancellationToken);
            _readLeft -= read;
            return read;
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var length = Math.Min(buffer.Length, _writeLeft);
            await inner.WriteAsync(buffer[..length], cancellationToken);
            _writeLeft -= length;
            if (length < buffer.Length)
                throw new IOException("cut");
        }

        public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            inner.Dispose();
            base.Dispose(disposing);
        }
    }
}
