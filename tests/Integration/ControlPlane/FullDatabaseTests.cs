using Microsoft.Data.Sqlite;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Storage;
using Ravel.Linux.Processes;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

/// <summary>A server whose database is on a disk that fills up.</summary>
public sealed class FullDatabaseTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-full-db-").FullName;
    private ControlPlaneHost _host = null!;

    private string Filler => Path.Combine(_directory, "filler");

    public async ValueTask InitializeAsync()
    {
        await CommandRunner.RunCheckedAsync("mount", ["-t", "tmpfs", "-o", "size=16m", "tmpfs", _directory]);
        _host = await ControlPlaneHost.StartAsync(
            options => options with { SweepInterval = TimeSpan.FromMilliseconds(50) },
            database: DatabaseAddress.Sqlite(Path.Combine(_directory, "server.db")));
        await _host.Client.CreateAppAsync("web");
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        // Connections that wait for their next use keep the file open.
        SqliteConnection.ClearAllPools();
        await CommandRunner.RunCheckedAsync("umount", [_directory]);
        Directory.Delete(_directory);
    }

    [Fact]
    public async Task What_changes_something_is_refused_and_what_asks_is_answered_until_there_is_room()
    {
        var machine = await _host.Client.CreateMachineAsync("web");
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        Fill();

        var refused = await _host.Client.TryCreateMachineAsync("web").ProblemAsync();
        Assert.Equal((503, ProblemCodes.DiskFull), (refused.Status, refused.Code));
        Assert.Equal(ProblemCodes.DiskFull, (await _host.Client.DoAsync(machine, "stop").ProblemAsync()).Code);
        Assert.Equal(MachineStates.Started, (await _host.Client.GetMachineAsync(machine)).State);
        Assert.Single(await _host.Client.GetAsync("/v1/machines").ReadAsync(ApiJson.Default.IReadOnlyListMachine));

        // What the node has to tell meanwhile is heard when it can be kept.
        _host.Node.Exit(machine.Id.Value, 7);
        File.Delete(Filler);
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
        Assert.Equal(7, (await _host.Client.GetMachineAsync(machine)).Events!.First(e => e.Exit is not null).Exit!.ExitCode);
        await _host.Client.CreateMachineAsync("web");
    }

    private void Fill()
    {
        using var file = new FileStream(Filler, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0);
        var page = new byte[4096];
        try
        {
            while (new DriveInfo(_directory).AvailableFreeSpace > 0)
                file.Write(page);
        }
        catch (IOException)
        {
            // The database was quicker to take the last of it.
        }
    }
}
