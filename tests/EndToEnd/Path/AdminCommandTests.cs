using Ravel.Linux.Processes;
using Ravel.Testing.EndToEnd;

namespace Ravel.EndToEnd.Path;

/// <summary><c>ravel admin</c> on a host as an administrator has it: backup under way, restore and move between two runs of raveld.</summary>
public sealed class AdminCommandTests : IAsyncLifetime
{
    private RavelHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await RavelHost.CreateAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_backup_made_while_ravel_is_up_brings_everything_back_after_it()
    {
        var file = System.IO.Path.Combine(_host.Scratch, "backup.db");
        var elsewhere = System.IO.Path.Combine(_host.AddDataDirectory("elsewhere"), "server.db");
        await _host.UpAsync();
        await _host.RavelOkAsync("namespace", "create", "before");
        await _host.RavelOkAsync("admin", "backup", file);
        await _host.RavelOkAsync("namespace", "create", "after");
        await RefusedAsync("is there already", "admin", "backup", file);
        await RefusedAsync("stop raveld first", "admin", "restore", "--replace", file);
        await RefusedAsync("stop raveld first", "admin", "migrate-database", "--to", elsewhere);
        await _host.RavelOkAsync("down");

        await RefusedAsync("already", "admin", "restore", file);
        await _host.RavelOkAsync("admin", "restore", "--replace", file);
        await _host.RavelOkAsync("admin", "migrate-database", "--to", elsewhere);
        await RefusedAsync("already", "admin", "migrate-database", "--to", elsewhere);
        await _host.UpAsync();
        var namespaces = await _host.RavelOkAsync("namespace", "ls");
        Assert.Contains("before", namespaces, StringComparison.Ordinal);
        Assert.DoesNotContain("after", namespaces, StringComparison.Ordinal);
        await _host.RavelOkAsync("down");
    }

    private async Task RefusedAsync(string why, params string[] arguments)
    {
        CommandResult result = await _host.RavelAsync(arguments);
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains(why, result.Error, StringComparison.Ordinal);
    }
}
