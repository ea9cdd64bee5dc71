using System.Threading.Channels;
using Grpc.Core;

namespace Ravel.Testing.Agent;

/// <summary>A gRPC call without a transport.</summary>
public sealed class FakeCall : ServerCallContext
{
    private readonly CancellationToken _cancellationToken;

    private FakeCall(CancellationToken cancellationToken) => _cancellationToken = cancellationToken;

    public static ServerCallContext Context(CancellationToken cancellationToken = default) => new FakeCall(cancellationToken);

    protected override string MethodCore => "/ravel.node.v1.Node/Fake";

    protected override string HostCore => "fake";

    protected override string PeerCore => "unix:";

    protected override DateTime DeadlineCore => DateTime.MaxValue;

    protected override Metadata RequestHeadersCore { get; } = [];

    protected override CancellationToken CancellationTokenCore => _cancellationToken;

    protected override Metadata ResponseTrailersCore { get; } = [];

    protected override Status StatusCore { get; set; }

    protected override WriteOptions? WriteOptionsCore { get; set; }

    protected override AuthContext AuthContextCore { get; } = new(null, []);

    protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) => throw new NotSupportedException();

    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) => Task.CompletedTask;
}

/// <summary>Keeps what a server streams.</summary>
public sealed class CollectingWriter<T> : IServerStreamWriter<T>
{
    private readonly Channel<T> _items = Channel.CreateUnbounded<T>();

    public List<T> Items { get; } = [];

    /// <summary>The same items as they come.</summary>
    public ChannelReader<T> Stream => _items.Reader;

    public WriteOptions? WriteOptions { get; set; }

    public Task WriteAsync(T message, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return WriteAsync(message);
    }

    public Task WriteAsync(T message)
    {
        lock (Items)
            Items.Add(message);
        _items.Writer.TryWrite(message);
        return Task.CompletedTask;
    }
}

/// <summary>What a client streams.</summary>
public sealed class ChannelStreamReader<T> : IAsyncStreamReader<T>
{
    private readonly Channel<T> _items = Channel.CreateUnbounded<T>();

    public ChannelStreamReader(params T[] items)
    {
        foreach (var item in items)
            Send(item);
    }

    public T Current { get; private set; } = default!;

    public void Send(T item) => _items.Writer.TryWrite(item);

    public void Complete() => _items.Writer.TryComplete();

    public async Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        while (await _items.Reader.WaitToReadAsync(cancellationToken))
        {
            if (_items.Reader.TryRead(out var item))
            {
                Current = item;
                return true;
            }
        }
        return false;
    }
}
