using Ravel.Cli.Connection;
using Ravel.Cli.Daemon;
using Ravel.Cli.Errors;

namespace Ravel.Unit.Cli;

public sealed class DaemonTests
{
    private const string Rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";

    [Theory]
    [InlineData("42 (raveld) " + Rest)]
    [InlineData("42 (a) b (c) " + Rest)]
    public void The_start_time_is_field_22_whatever_the_name(string stat) => Assert.Equal(4711ul, DaemonProcess.StartTime(stat));

    [Fact]
    public void A_zombie_does_not_run() => Assert.Null(DaemonProcess.StartTime("42 (raveld) Z" + Rest[1..]));

    [Theory]
    [InlineData("")]
    [InlineData("42 (raveld) S 1 2")]
    public void What_is_no_stat_line_has_no_start_time(string stat) => Assert.Null(DaemonProcess.StartTime(stat));

    [Fact]
    public void The_daemon_is_looked_for_next_to_ravel_then_in_the_path()
    {
        Assert.Equal("/opt/raveld", Find(["/opt/raveld", "/usr/bin/raveld"]));
        Assert.Equal("/usr/bin/raveld", Find(["/usr/bin/raveld"]));
        Assert.Contains("set RAVELD to the file", Assert.Throws<CliException>(() => Find([])).Line);
    }

    [Fact]
    public void A_daemon_named_by_the_environment_is_the_one_or_an_error()
    {
        Assert.Equal("/x/raveld", Find(["/opt/raveld", "/x/raveld"], ("RAVELD", "/x/raveld")));
        Assert.Throws<CliException>(() => Find(["/opt/raveld"], ("RAVELD", "/x/raveld")));
    }

    [Fact]
    public void A_report_of_the_doctor_shows_marks_and_remedies()
    {
        using var terminal = new TestTerminal();
        var report = new DoctorReport(
        [
            new DoctorCheck("KVM", "warn", "not usable", "QEMU emulates; use a host with KVM"),
            new DoctorCheck("nftables", "ok", "works", null),
            new DoctorCheck("kernel", "fail", "none found", "./dev setup"),
        ]);

        DoctorCommand.Render(report, terminal.Terminal);

        Assert.Equal(
            """
            ! KVM       not usable
                        → QEMU emulates; use a host with KVM
            ✓ nftables  works
            ✗ kernel    none found
                        → ./dev setup

            1 thing keeps Ravel from running here.

            """,
            terminal.Output);
    }

    private static string Find(string[] files, params (string Name, string Value)[] environment)
    {
        var around = new Surroundings(
            name => environment.Append(("PATH", "/bin:/usr/bin")).FirstOrDefault(e => e.Item1 == name).Item2, IsRoot: true, "/root");
        return DaemonBinary.Find(around, "/opt/ravel", files.Contains);
    }
}
