using System.IO.Pipelines;

namespace Ravel.Vmm.Fake;

/// <summary>One end of a byte channel in memory.</summary>
internal sealed class PipeEnd : Stream
{
    private readonly PipeReader _reader;
    private readonly PipeWriter _writer;
    private readonly bool _closesPipes;
    private readonly CancellationTokenSource _closed = new();
    private readonly Lock _gate = new();

    // A pipe's ends must not be completed while they are used: whoever uses one when it is closed completes it afterwards.
    private bool _isReading;
    private bool _isWriting;

    public PipeEnd(PipeReader reader, PipeWriter writer, bool closesPipes)
    {
        _reader = reader;
        _writer = writer;
        _closesPipes = closesPipes;
    }

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        using var both = Link(cancellationToken);
        Enter(ref _isReading);
        try
        {
            var result = await _reader.ReadAsync(both.Token).ConfigureAwait(false);
            if (result.Buffer.IsEmpty)
            {
                _reader.AdvanceTo(result.Buffer.End);
                return 0;
            }
            var part = result.Buffer.Slice(0, Math.Min(buffer.Length, result.Buffer.Length));
            var position = 0;
            foreach (var segment in part)
            {
                segment.CopyTo(buffer[position..]);
                position += segment.Length;
            }
            _reader.AdvanceTo(part.End);
            return position;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException("the channel was closed");
        }
        finally
        {
            if (Leave(ref _isReading))
                await _reader.CompleteAsync().ConfigureAwait(false);
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        using var both = Link(cancellationToken);
        Enter(ref _isWriting);
        try
        {
            var result = await _writer.WriteAsync(buffer, both.Token).ConfigureAwait(false);
            if (result.IsCompleted)
                throw new IOException("Broken pipe");
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException("the channel was closed");
        }
        finally
        {
            if (Leave(ref _isWriting))
                await _writer.CompleteAsync().ConfigureAwait(false);
        }
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
        if (disposing && !_closed.IsCancellationRequested)
        {
            bool reader, writer;
            lock (_gate)
            {
                _closed.Cancel();
                (reader, writer) = (_closesPipes && !_isReading, _closesPipes && !_isWriting);
            }
            if (writer)
                _writer.Complete();
            if (reader)
                _reader.Complete();
        }
        base.Dispose(disposing);
    }

    private void Enter(ref bool isUsed)
    {
        lock (_gate)
        {
            if (_closed.IsCancellationRequested)
                throw new IOException("the channel was closed");
            isUsed = true;
        }
    }

    /// <returns>Whether the end was closed meanwhile, and is to be completed.</returns>
    private bool Leave(ref bool isUsed)
    {
        lock (_gate)
        {
            isUsed = false;
            return _closesPipes && _closed.IsCancellationRequested;
        }
    }

    private CancellationTokenSource Link(CancellationToken cancellationToken) =>
        CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _closed.Token);
}
