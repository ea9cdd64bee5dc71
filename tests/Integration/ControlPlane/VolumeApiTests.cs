using System.Net.Http.Json;
using Ravel.Contracts.Api;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

public sealed class VolumeApiTests : IAsyncLifetime
{
    private const string Volumes = "/v1/apps/web/volumes";

    private ControlPlaneHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await ControlPlaneHost.StartAsync();
        await _host.Client.CreateAppAsync("web");
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_volume_is_made_on_the_node_grown_and_removed()
    {
        var volume = await CreateAsync("data", 100);
        Assert.Equal((VolumeStates.Created, 100L, 1L), (volume.State, volume.SizeMb, volume.SizeGb));
        Assert.Equal(100ul, _host.Node.Volumes[volume.Id.Value].SizeMib);

        var grown = await _host.Client.PutAsync(
            $"{Volumes}/data/extend", JsonContent.Create(new ExtendVolumeRequest { SizeGb = 2 }, ApiJson.Default.ExtendVolumeRequest))
            .ReadAsync(ApiJson.Default.ExtendVolumeResponse);
        Assert.Equal((2048L, false), (grown.Volume.SizeMb, grown.NeedsRestart));
        Assert.Equal(2048ul, _host.Node.Volumes[volume.Id.Value].SizeMib);
        var shrunk = await _host.Client.PutAsync(
            $"{Volumes}/data/extend", JsonContent.Create(new ExtendVolumeRequest { SizeGb = 1 }, ApiJson.Default.ExtendVolumeRequest)).ProblemAsync();
        Assert.Equal(ProblemCodes.InvalidRequest, shrunk.Code);

        await _host.Client.DeleteAsync($"{Volumes}/{volume.Id}").OkAsync();
        Assert.Empty(_host.Node.Volumes);
        Assert.Empty(await ListAsync());
        Assert.Equal(ProblemCodes.VolumeNotFound, (await _host.Client.GetAsync($"{Volumes}/data").ProblemAsync()).Code);
    }

    [Fact]
    public async Task What_the_node_refuses_is_taken_back()
    {
        var refused = await PostAsync(new CreateVolumeRequest { Name = "huge", SizeGb = 2048 }).ProblemAsync();
        Assert.Equal(ProblemCodes.InsufficientCapacity, refused.Code);
        Assert.Empty(await ListAsync());

        await CreateAsync("data", 100);
        var extension = await _host.Client.PutAsync(
            $"{Volumes}/data/extend", JsonContent.Create(new ExtendVolumeRequest { SizeGb = 2048 }, ApiJson.Default.ExtendVolumeRequest)).ProblemAsync();
        Assert.Equal(ProblemCodes.InsufficientCapacity, extension.Code);
        Assert.Equal(100, Assert.Single(await ListAsync()).SizeMb);
    }

    [Fact]
    public async Task One_machine_at_a_time_has_a_volume_and_keeps_it_from_being_removed()
    {
        var volume = await CreateAsync("data", 100);
        var first = await _host.Client.CreateMachineAsync("web", Request("first", "data"));
        Assert.Equal(volume.Id.Value, Assert.Single(first.Config.Mounts!).Volume);
        await _host.Client.WaitAsync(first, MachineStates.Started);
        Assert.Equal(volume.Id.Value, Assert.Single(_host.Node.Puts.Last().Spec.Mounts).VolumeId);
        Assert.Equal(first.Id, Assert.Single(await ListAsync()).AttachedMachineId);

        var second = await _host.Client.PostAsync(
            "/v1/apps/web/machines", JsonContent.Create(Request("second", "data"), ApiJson.Default.CreateMachineRequest)).ProblemAsync();
        Assert.Equal(ProblemCodes.VolumeInUse, second.Code);
        Assert.Equal(ProblemCodes.VolumeInUse, (await _host.Client.DeleteAsync($"{Volumes}/data").ProblemAsync()).Code);
        Assert.Equal(ProblemCodes.AppNotEmpty, (await _host.Client.DeleteAsync("/v1/apps/web").ProblemAsync()).Code);

        await _host.Client.DeleteAsync($"{ApiCalls.PathOf(first)}?force=true").OkAsync();
        await _host.Client.WaitAsync(first, MachineStates.Destroyed);
        Assert.Null(Assert.Single(await ListAsync()).AttachedMachineId);
        await _host.Client.CreateMachineAsync("web", Request("second", volume.Id.Value));
    }

    [Fact]
    public async Task A_snapshot_is_a_copy_that_a_volume_can_begin_as()
    {
        var volume = await CreateAsync("data", 100);
        var snapshot = await _host.Client.PostAsync($"{Volumes}/data/snapshots", null).ReadAsync(ApiJson.Default.Volume);
        Assert.Equal(volume.Id, snapshot.SnapshotOf);
        Assert.Equal(volume.Id.Value, _host.Node.Volumes[snapshot.Id.Value].SourceId);
        Assert.Equal(snapshot.Id, Assert.Single(await _host.Client.GetAsync($"{Volumes}/data/snapshots").ReadAsync(ApiJson.Default.IReadOnlyListVolume)).Id);
        Assert.Equal(volume.Id, Assert.Single(await ListAsync()).Id);

        var mounted = await _host.Client.PostAsync(
            "/v1/apps/web/machines", JsonContent.Create(Request("one", snapshot.Id.Value), ApiJson.Default.CreateMachineRequest)).ProblemAsync();
        Assert.Equal(ProblemCodes.InvalidRequest, mounted.Code);
        var again = await PostAsync(new CreateVolumeRequest { Name = "again", SnapshotId = snapshot.Id.Value }).ReadAsync(ApiJson.Default.Volume);
        Assert.Equal(100, again.SizeMb);
        Assert.Equal(snapshot.Id.Value, _host.Node.Volumes[again.Id.Value].SourceId);
    }

    [Theory]
    [InlineData("""{"name":"A"}""")]
    [InlineData("""{"name":"a","size_mb":1}""")]
    [InlineData("""{"name":"a","size_mb":100,"size_gb":1}""")]
    public async Task What_makes_no_sense_is_refused(string body)
    {
        using var content = new StringContent(body, null, "application/json");
        Assert.Equal(ProblemCodes.InvalidRequest, (await _host.Client.PostAsync(Volumes, content).ProblemAsync()).Code);
    }

    private static CreateMachineRequest Request(string name, string volume) => new()
    {
        Name = name,
        Config = new MachineConfig { Image = "nginx", Mounts = [new MountConfig { Volume = volume, Path = "/data" }] },
    };

    private Task<Volume> CreateAsync(string name, int mib) =>
        PostAsync(new CreateVolumeRequest { Name = name, SizeMb = mib }).ReadAsync(ApiJson.Default.Volume);

    private Task<HttpResponseMessage> PostAsync(CreateVolumeRequest request) =>
        _host.Client.PostAsync(Volumes, JsonContent.Create(request, ApiJson.Default.CreateVolumeRequest));

    private Task<IReadOnlyList<Volume>> ListAsync() => _host.Client.GetAsync("/v1/volumes").ReadAsync(ApiJson.Default.IReadOnlyListVolume);
}
