using Google.Protobuf;
using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;
using Ravel.Testing.Images;
using PullImageRequest = Ravel.Contracts.Node.PullImageRequest;

namespace Ravel.Unit.Agent;

/// <summary>The calls of the node's service that stream.</summary>
public sealed class NodeServiceStreamTests : IAsyncDisposable
{
    private readonly AgentFixture _host = new();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_hundred_commands_at_once_each_get_their_own_output()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        var runs = Enumerable.Range(0, 100).Select(async n =>
        {
            var output = await ExecAsync(machine, ["sh", "-c", $"print {n}; flood 1000; exit {n}"]);
            return (Text: string.Concat(output.Select(o => o.Stdout?.ToStringUtf8())), output[^1].Exit.Code);
        });
        var results = await Task.WhenAll(runs);
        for (var n = 0; n < results.Length; n++)
            Assert.Equal(($"{n}\n{new string('x', 1000)}", n), results[n]);
    }

    [Fact]
    public async Task A_command_that_is_not_there_says_so_with_127()
    {
        await _host.StartAsync();
        var output = await ExecAsync(await _host.RunAsync(), ["no-such-program"]);
        Assert.Equal(127, output[^1].Exit.Code);
        Assert.Contains(output, o => o.Stderr?.Length > 0);
    }

    [Fact]
    public async Task A_caller_that_goes_away_takes_its_command_along()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        using var call = new CancellationTokenSource();
        var sink = new CollectingWriter<ExecOutput>();
        var exec = _host.Service.Exec(Input(machine, ["sh", "-c", "print up; sleep infinity"]), sink, FakeCall.Context(call.Token));
        await sink.Stream.ReadAsync();
        await call.CancelAsync();
        Assert.Equal(StatusCode.Cancelled, (await Assert.ThrowsAsync<RpcException>(() => exec)).StatusCode);
        Assert.Equal("again\n", string.Concat((await ExecAsync(machine, ["print", "again"])).Select(o => o.Stdout?.ToStringUtf8())));
    }

    [Fact]
    public async Task Exec_in_a_machine_that_does_not_run_is_refused()
    {
        await _host.StartAsync();
        var machine = MachineId.New();
        await _host.PutAsync(machine, 1, DesiredState.Stopped);
        var refused = await Assert.ThrowsAsync<RpcException>(() => ExecAsync(machine, ["true"]));
        Assert.Equal(ProblemCodes.IllegalState, refused.Trailers.GetValue(NodeTrailers.ProblemCode));
        refused = await Assert.ThrowsAsync<RpcException>(() => ExecAsync(MachineId.New(), ["true"]));
        Assert.Equal(ProblemCodes.MachineNotFound, refused.Trailers.GetValue(NodeTrailers.ProblemCode));
    }

    [Fact]
    public async Task A_signal_reaches_the_workload()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        await _host.Service.SignalMachine(new SignalMachineRequest { MachineId = machine.Value, Signal = 10 }, FakeCall.Context());
        var status = await _host.UntilAsync(machine, MachineState.Stopped);
        Assert.Equal((138, false), (status.Exit.Code, status.Exit.Requested));
    }

    [Fact]
    public async Task A_pull_tells_its_progress_and_ends_with_the_image()
    {
        await _host.StartAsync();
        var sink = new CollectingWriter<PullImageProgress>();
        await _host.Service.PullImage(new PullImageRequest { Reference = AgentFixture.Image }, sink, FakeCall.Context());
        Assert.Equal("resolve", sink.Items[0].Phase);
        Assert.Equal(5UL, sink.Items[1].Layer.ReceivedBytes);
        Assert.Equal([AgentFixture.Image], sink.Items[^1].Image.References);

        var refused = await Assert.ThrowsAsync<RpcException>(() =>
            _host.Service.PullImage(new PullImageRequest { Reference = "missing" }, sink, FakeCall.Context()));
        Assert.Equal(ProblemCodes.ImageNotFound, refused.Trailers.GetValue(NodeTrailers.ProblemCode));
    }

    [Fact]
    public async Task An_import_is_put_together_from_its_chunks_and_limited()
    {
        await _host.StartAsync();
        var image = await _host.Service.ImportImage(
            Chunks(new ImportImageChunk { Reference = "mine", Data = ByteString.CopyFromUtf8("ab") }, new ImportImageChunk { Data = ByteString.CopyFromUtf8("cd") }),
            FakeCall.Context());
        Assert.Equal(["mine"], image.References);
        Assert.Equal("abcd"u8.ToArray(), _host.Images.Imported.Single());

        var refused = await Assert.ThrowsAsync<RpcException>(() => _host.Service.ImportImage(
            Chunks(new ImportImageChunk { Data = ByteString.CopyFrom(new byte[1025]) }), FakeCall.Context()));
        Assert.Equal(ProblemCodes.PayloadTooLarge, refused.Trailers.GetValue(NodeTrailers.ProblemCode));
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(_host.Options.DataDirectory, "agent", "imports")));
    }

    [Fact]
    public async Task An_export_begins_with_its_length_and_holds_the_image_meanwhile()
    {
        await _host.StartAsync();
        var image = _host.Images.Add("team/app:1");
        await File.WriteAllBytesAsync(image.RootfsPath, TestRootfs.Build(new TarBuilder().File("big", new string('x', 1_000_000)).ToArray()));
        var archive = new ArchiveWriter(() => _host.Images.LeasesOf("team/app:1"));
        await _host.Service.ExportImage(new ExportImageRequest { Reference = "team/app:1" }, archive, FakeCall.Context());

        Assert.Equal(archive.Announced, (ulong)archive.Received.Length);
        Assert.InRange(archive.LargestChunk, 32 * 1024, 64 * 1024);
        Assert.Equal((1, 0), (archive.Leases, _host.Images.LeasesOf("team/app:1")));
        var refused = await Assert.ThrowsAsync<RpcException>(() =>
            _host.Service.ExportImage(new ExportImageRequest { Reference = "missing" }, archive, FakeCall.Context()));
        Assert.Equal(ProblemCodes.ImageNotFound, refused.Trailers.GetValue(NodeTrailers.ProblemCode));
    }

    [Fact]
    public async Task An_image_in_use_is_not_removed()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        var request = new RemoveImageRequest { Reference = AgentFixture.Image };
        var refused = await Assert.ThrowsAsync<RpcException>(() => _host.Service.RemoveImage(request, FakeCall.Context()));
        Assert.Equal(ProblemCodes.ImageInUse, refused.Trailers.GetValue(NodeTrailers.ProblemCode));
        await _host.PutAsync(machine, 2, DesiredState.Destroyed);
        await _host.UntilAsync(machine, MachineState.Destroyed);
        Assert.Equal([AgentFixture.Image], (await _host.Service.RemoveImage(request, FakeCall.Context())).Removed);
    }

    /// <summary>Copies what it is given, as the wire does: the sender uses its buffer again.</summary>
    private sealed class ArchiveWriter(Func<int> leases) : IServerStreamWriter<ExportImageChunk>
    {
        public ulong Announced { get; private set; }

        public MemoryStream Received { get; } = new();

        public int LargestChunk { get; private set; }

        public int Leases { get; private set; }

        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(ExportImageChunk message, CancellationToken cancellationToken) => WriteAsync(message);

        public Task WriteAsync(ExportImageChunk message)
        {
            Announced += message.TotalBytes;
            Received.Write(message.Data.Span);
            LargestChunk = Math.Max(LargestChunk, message.Data.Length);
            Leases = leases();
            return Task.CompletedTask;
        }
    }

    private static ChannelStreamReader<ImportImageChunk> Chunks(params ImportImageChunk[] chunks)
    {
        var reader = new ChannelStreamReader<ImportImageChunk>(chunks);
        reader.Complete();
        return reader;
    }

    private static ChannelStreamReader<ExecInput> Input(MachineId machine, string[] command)
    {
        var start = new ExecStart { MachineId = machine.Value };
        start.Command.AddRange(command);
        return new ChannelStreamReader<ExecInput>(new ExecInput { Start = start });
    }

    private async Task<List<ExecOutput>> ExecAsync(MachineId machine, string[] command)
    {
        var sink = new CollectingWriter<ExecOutput>();
        await _host.Service.Exec(Input(machine, command), sink, FakeCall.Context());
        return sink.Items;
    }
}
