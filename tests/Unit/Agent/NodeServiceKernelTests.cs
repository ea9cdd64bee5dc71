using Google.Protobuf;
using Grpc.Core;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;
using Ravel.Vmm.Kernels;

namespace Ravel.Unit.Agent;

public sealed class NodeServiceKernelTests : IAsyncDisposable
{
    private readonly AgentFixture _host = new();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_machine_boots_the_kernel_it_names_and_another_boots_the_default()
    {
        var mine = _host.Kernels.Add("mine");
        await _host.StartAsync();
        var named = await _host.RunAsync(Spec(mine.Digest));
        var plain = await _host.RunAsync();
        Assert.Equal([mine.Digest, ""], _host.Kernels.Prepared);
        Assert.Equal(mine.Digest, _host.Agent.Machines.Find(named)!.Record!.Instance!.Facts.Kernel!.Digest);

        var listed = (await _host.Service.ListKernels(new ListKernelsRequest(), FakeCall.Context())).Kernels;
        Assert.Equal([("host", 1u, true), ("mine", 1u, false)], listed.Select(kernel => (kernel.Name, kernel.Machines, kernel.IsDefault)));
        Assert.NotEqual(named, plain);
    }

    [Fact]
    public async Task A_machine_that_names_no_kernel_of_this_node_is_refused()
    {
        await _host.StartAsync();
        var unknown = await RefusedAsync(() => _host.PutAsync(MachineId.New(), 1, DesiredState.Started, Spec(FakeGuestKernels.DigestOf("gone"))));
        Assert.Equal("kernel-not-found", unknown);
        Assert.Equal("invalid-request", await RefusedAsync(() => _host.PutAsync(MachineId.New(), 1, DesiredState.Started, Spec("a-name"))));
        Assert.Empty(_host.Agent.Machines.Records);
    }

    [Fact]
    public async Task A_kernel_is_removed_when_the_last_machine_that_names_or_runs_it_is_gone()
    {
        var mine = _host.Kernels.Add("mine");
        await _host.StartAsync();
        var named = MachineId.New();
        await _host.PutAsync(named, 1, DesiredState.Stopped, Spec(mine.Digest));
        await _host.Service.SetDefaultKernel(new Contracts.Node.SetDefaultKernelRequest { Reference = "mine" }, FakeCall.Context());
        var running = await _host.RunAsync();
        await _host.Service.SetDefaultKernel(new Contracts.Node.SetDefaultKernelRequest { Reference = "host" }, FakeCall.Context());

        Assert.Equal("kernel-in-use", await RefusedAsync(RemoveAsync));
        await _host.PutAsync(named, 2, DesiredState.Destroyed);
        await _host.UntilAsync(named, MachineState.Destroyed);
        Assert.Equal("kernel-in-use", await RefusedAsync(RemoveAsync));
        await _host.PutAsync(running, 2, DesiredState.Stopped);
        await _host.UntilAsync(running, MachineState.Stopped);
        await RemoveAsync();
        Assert.Single((await _host.Service.ListKernels(new ListKernelsRequest(), FakeCall.Context())).Kernels);

        Task RemoveAsync() => _host.Service.RemoveKernel(new RemoveKernelRequest { Reference = "mine" }, FakeCall.Context());
    }

    [Fact]
    public async Task An_upload_arrives_whole_and_a_build_tells_its_steps_then_the_kernel()
    {
        await _host.StartAsync();
        var chunks = new ChunkReader([new() { Name = "mine", Data = ByteString.CopyFromUtf8("ker") }, new() { Data = ByteString.CopyFromUtf8("nel") }]);
        var added = await _host.Service.AddKernel(chunks, FakeCall.Context());
        Assert.Equal("mine", added.Name);
        Assert.Equal("kernel"u8.ToArray(), Assert.Single(_host.Kernels.Received));

        _host.Kernels.Steps.AddRange([new KernelBuildProgress("source"), new KernelBuildProgress("compile", 3, 10)]);
        var told = new CollectingWriter<BuildKernelProgress>();
        await _host.Service.BuildKernel(new BuildKernelRequest(), told, FakeCall.Context());
        Assert.Equal(["source 0/0", "compile 3/10"], told.Items.Where(item => item.Step is not null).Select(item => $"{item.Step.Phase} {item.Step.Done}/{item.Step.Total}"));
        Assert.Equal("small", told.Items[^1].Kernel.Name);
    }

    [Fact]
    public async Task An_upload_without_an_end_is_cut_off()
    {
        await _host.StartAsync();
        var chunk = new AddKernelChunk { Data = ByteString.CopyFrom(new byte[1 << 20]) };
        Assert.Equal("payload-too-large", await RefusedAsync(() => _host.Service.AddKernel(new ChunkReader(Enumerable.Repeat(chunk, 2)), FakeCall.Context())));
    }

    private static MachineSpec Spec(string kernel)
    {
        var spec = AgentFixture.Spec();
        spec.Kernel = kernel;
        return spec;
    }

    private static async Task<string?> RefusedAsync(Func<Task> act) =>
        (await Assert.ThrowsAsync<RpcException>(act)).Trailers.GetValue(NodeTrailers.ProblemCode);

    private sealed class ChunkReader(IEnumerable<AddKernelChunk> chunks) : IAsyncStreamReader<AddKernelChunk>
    {
        private readonly IEnumerator<AddKernelChunk> _chunks = chunks.GetEnumerator();

        public AddKernelChunk Current => _chunks.Current;

        public Task<bool> MoveNext(CancellationToken cancellationToken) => Task.FromResult(_chunks.MoveNext());
    }
}
