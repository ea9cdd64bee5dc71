using Ravel.Cli.Machines;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Testing.Cli;

namespace Ravel.Unit.Cli;

public sealed class TopTableTests
{
    private static readonly MachineUsage Web = new()
    {
        Id = MachineId.Parse("abc00000000001"),
        Name = "web",
        App = "default",
        InstanceId = "one",
        At = SampleMachines.Now,
        Cpu = new CpuUsage(10, 1),
        Memory = new MemoryUsage(50_000_000, 256_000_000),
        DiskIo = new DiskCounters(4096, 512, 8, 1),
        Network = new NetworkCounters(1500, 1, 20, 2),
        Disk = new StorageUsage(1_000_000, 1_000_000_000),
        LogBytes = 12,
    };

    private static readonly MachineUsage Job = new()
    {
        Id = MachineId.Parse("abc00000000002"),
        Name = "job",
        App = "default",
        At = SampleMachines.Now,
        Disk = new StorageUsage(0, 1_000_000_000),
        LogBytes = 0,
    };

    [Fact]
    public void A_live_table_is_cut_off_where_the_terminal_ends()
    {
        using var terminal = new TestTerminal(isTerminal: true, ("TERM", "dumb"));
        var table = new Ravel.Cli.Output.Table("NAME");
        for (var i = 0; i < 10; i++)
            table.Add($"m{i}");

        TopCommand.Redraw(terminal.Terminal, table, rows: 4, isFirst: true);

        Assert.Equal("\e[2J\e[H\e[?7lNAME\e[K\nm0\e[K\nm1\e[K\n\e[J\e[?7h", terminal.Output);
    }

    [Fact]
    public void A_rate_is_over_the_time_between_two_readings_and_100_is_one_CPU()
    {
        using var terminal = new TestTerminal(isTerminal: false, ("TERM", "xterm"));

        TopCommand.Render([Later(Web, seconds: 2, cpu: 13), Job], [Web, Job]).Write(terminal.Terminal);

        Assert.Equal(
            """
            ID               NAME   CPU %   MEM / GUEST      NET RX / TX    DISK R / W      DISK USED         LOG
            abc00000000002   job    -       -                -              -               0B / 1.00GB       0B
            abc00000000001   web    150.0   50.0MB / 256MB   1.50kB / 20B   4.10kB / 512B   1.00MB / 1.00GB   12B

            """,
            terminal.Output);
    }

    [Theory]
    [InlineData("another", 1)]
    [InlineData("one", 0)]
    public void There_is_no_rate_across_a_restart_or_without_time_between(string instance, int seconds)
    {
        using var terminal = new TestTerminal(isTerminal: false, ("TERM", "xterm"));

        TopCommand.Render([Later(Web, seconds, cpu: 11) with { InstanceId = instance }], [Web]).Write(terminal.Terminal);

        Assert.Contains("web    -       50.0MB", terminal.Output);
    }

    private static MachineUsage Later(MachineUsage usage, int seconds, double cpu) =>
        usage with { At = usage.At.AddSeconds(seconds), Cpu = new CpuUsage(cpu, 1) };
}
