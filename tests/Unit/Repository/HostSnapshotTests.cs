using Ravel.Testing.Leaks;

namespace Ravel.Unit.Repository;

/// <summary>The leak check has to see leaks: it guards every other suite.</summary>
public sealed class HostSnapshotTests
{
    private const string Rest = "S 1 42 42 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 3 0 7777 0 0";

    [Fact]
    public void What_is_new_is_a_leftover_and_what_stayed_or_went_is_not()
    {
        var tap = new HostResource(HostResourceKind.NetworkInterface, "tap1");
        var eth = new HostResource(HostResourceKind.NetworkInterface, "eth0");
        var gone = new HostResource(HostResourceKind.Mount, "/mnt #7");

        var leftovers = HostSnapshot.Of([eth, gone]).LeftoversIn(HostSnapshot.Of([eth, tap]));

        Assert.Equal([tap], leftovers);
    }

    [Fact]
    public void A_process_is_told_by_pid_and_start_time_not_by_its_command_line()
    {
        var first = HostSnapshot.ParseProcess(42, $"42 (raveld) {Rest}", "raveld\0--data\0a\0");
        var same = HostSnapshot.ParseProcess(42, $"42 (raveld) {Rest}", "renamed\0");
        var reused = HostSnapshot.ParseProcess(42, $"42 (raveld) {Rest.Replace("7777", "8888", StringComparison.Ordinal)}", "raveld\0");

        Assert.Equal(first, same);
        Assert.NotEqual(first, reused);
        Assert.Equal("raveld --data a", first!.Detail);
    }

    [Theory]
    [InlineData("42 (bash) ")]
    [InlineData("42 (a) (raveld) ")]
    public void Programs_of_others_are_not_counted(string start) =>
        Assert.Null(HostSnapshot.ParseProcess(42, start + Rest, ""));

    [Fact]
    public void A_zombie_is_no_leftover() =>
        Assert.Null(HostSnapshot.ParseProcess(42, "42 (raveld) " + "Z" + Rest[1..], ""));

    [Fact]
    public void Mounting_over_a_mount_point_is_seen()
    {
        const string mounts = """
            22 1 8:1 / / rw - ext4 /dev/sda1 rw
            30 22 0:30 / /mnt rw - tmpfs tmpfs rw
            31 30 0:31 / /mnt rw - tmpfs tmpfs rw
            """;

        Assert.Equal(3, HostSnapshot.ParseMounts(mounts).Distinct().Count());
    }

    [Fact]
    public async Task This_host_can_be_looked_at()
    {
        var snapshot = await HostSnapshot.TakeAsync(CancellationToken.None);

        Assert.Contains(new HostResource(HostResourceKind.NetworkInterface, "lo"), snapshot.Resources);
        Assert.Contains(snapshot.Resources, resource => resource.Kind == HostResourceKind.Mount);
        Assert.Empty(snapshot.LeftoversIn(snapshot));
    }
}
