using System.Net.Http.Json;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

public class VolumeApiTests : IAsyncLifetime
{
    private const string Volumes = "/v1/apps/web/volumes";

    private ControlPlaneHost _host = null!;

    /// <summary>Null: a SQLite file.</summary>
    protected virtual Task<DatabaseAddress?> DatabaseAsync() => Task.FromResult<DatabaseAddress?>(null);

    public async ValueTask InitializeAsync()
    {
        _host = await ControlPlaneHost.StartAsync(database: await DatabaseAsync());
        await _host.Client.CreateAppAsync("web");
    }

    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return _host.DisposeAsync();
    }

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

    [Fact]
    public async Task A_deletion_that_the_node_refuses_leaves_the_volume_as_it_was()
    {
        var volume = await CreateAsync("data", 100);
        _host.Node.HeldVolumes.Add(volume.Id.Value);
        Assert.Equal(ProblemCodes.VolumeInUse, (await _host.Client.DeleteAsync($"{Volumes}/data").ProblemAsync()).Code);
        Assert.Equal((VolumeStates.Created, "data"), await StateAsync());

        _host.Node.HeldVolumes.Clear();
        await _host.StopServerAsync();
        await _host.StartServerAsync();
        // Nor does a sweep go on with it.
        var other = await CreateAsync("other", 100);
        await _host.Client.DeleteAsync($"{Volumes}/{other.Id}").OkAsync();
        Assert.Equal((VolumeStates.Created, "data"), await StateAsync());
        await _host.Client.DeleteAsync($"{Volumes}/data").OkAsync();
        Assert.Empty(await ListAsync());

        async Task<(string, string)> StateAsync()
        {
            var shown = await _host.Client.GetAsync($"{Volumes}/data").ReadAsync(ApiJson.Default.Volume);
            return (shown.State, shown.Name);
        }
    }

    [Fact]
    public async Task Snapshots_that_outlive_their_volume_can_be_found_and_deleted()
    {
        var volume = await CreateAsync("data", 100);
        var snapshot = await _host.Client.PostAsync($"{Volumes}/data/snapshots", null).ReadAsync(ApiJson.Default.Volume);
        await _host.Client.DeleteAsync($"{Volumes}/data").OkAsync();
        Assert.Contains("include_snapshots", (await _host.Client.DeleteAsync("/v1/apps/web").ProblemAsync()).Detail, StringComparison.Ordinal);

        Assert.Equal(snapshot.Id, Assert.Single(await ListAsync($"{Volumes}/{volume.Id}/snapshots")).Id);
        Assert.Equal(snapshot.Id, Assert.Single(await ListAsync($"{Volumes}?include_snapshots=true")).Id);
        Assert.Equal(snapshot.Id, Assert.Single(await ListAsync("/v1/volumes?include_snapshots=true")).Id);
        Assert.Empty(await ListAsync(Volumes));
        await _host.Client.DeleteAsync($"{Volumes}/{snapshot.Id}").OkAsync();
        Assert.Equal(ProblemCodes.VolumeNotFound, (await _host.Client.GetAsync($"{Volumes}/{volume.Id}/snapshots").ProblemAsync()).Code);
        await _host.Client.DeleteAsync("/v1/apps/web").OkAsync();
    }

    [Fact]
    public async Task The_volumes_of_an_app_are_its_own()
    {
        await _host.Client.CreateAppAsync("other");
        var mine = await CreateAsync("data", 100);
        await _host.Client.PostAsync(
            "/v1/apps/other/volumes", JsonContent.Create(new CreateVolumeRequest { Name = "data", SizeMb = 100 }, ApiJson.Default.CreateVolumeRequest)).OkAsync();
        Assert.Equal(mine.Id, Assert.Single(await ListAsync(Volumes)).Id);
        Assert.Equal(2, (await ListAsync()).Count);
    }

    [Fact]
    public async Task A_volume_that_its_node_has_not_made_can_be_neither_mounted_nor_copied()
    {
        _host.Node.IsMute = true;
        var volume = await CreateAsync("data", 100);
        Assert.Equal(VolumeStates.Creating, volume.State);
        var mounted = await _host.Client.TryCreateMachineAsync("web", Request("one", "data") with { SkipLaunch = true }).ProblemAsync();
        Assert.Equal(ProblemCodes.IllegalState, mounted.Code);
        var copied = await PostAsync(new CreateVolumeRequest { Name = "again", SourceVolumeId = volume.Id.Value }).ProblemAsync();
        Assert.Equal(ProblemCodes.IllegalState, copied.Code);
    }

    [Fact]
    public async Task Metadata_changes_without_a_look_at_the_volumes()
    {
        var volume = await CreateAsync("data", 100);
        var machine = await _host.Client.CreateMachineAsync("web", Request("one", "data") with { SkipLaunch = true });
        await _host.Client.PostJsonAsync(
            $"{ApiCalls.PathOf(machine)}", Request("one", "data") with { SkipLaunch = true, Config = new MachineConfig { Image = "nginx" } }, ApiJson.Default.CreateMachineRequest).OkAsync();
        Assert.Null(Assert.Single(await ListAsync()).AttachedMachineId);
        await _host.Client.PostJsonAsync(
            $"{ApiCalls.PathOf(machine)}", Request("one", "data") with { SkipLaunch = true }, ApiJson.Default.CreateMachineRequest).OkAsync();
        Assert.Equal(machine.Id, Assert.Single(await ListAsync()).AttachedMachineId);
        await _host.Client.DeleteAsync($"{ApiCalls.PathOf(machine)}").OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Destroyed);

        var second = await _host.Client.CreateMachineAsync("web", Request("two", "data") with { SkipLaunch = true });
        // A destroyed machine's volume is another's by now.
        await _host.Client.PostJsonAsync(
            $"{ApiCalls.PathOf(machine)}/metadata/owner", new MetadataValue { Value = "me" }, ApiJson.Default.MetadataValue).OkAsync();
        Assert.Equal(second.Id, (await _host.Client.GetAsync($"{Volumes}/{volume.Id}").ReadAsync(ApiJson.Default.Volume)).AttachedMachineId);
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

    private Task<IReadOnlyList<Volume>> ListAsync(string path = "/v1/volumes") => _host.Client.GetAsync(path).ReadAsync(ApiJson.Default.IReadOnlyListVolume);
}
