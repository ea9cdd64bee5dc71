using Ravel.Linux.Processes;

namespace Ravel.Unit.Linux.Processes;

public sealed class ProcessStatTests
{
    private const string Tail = "S 7 42 42 0 -1 4194560 101 0 0 0 150 50 0 0 20 0 3 0 123456789 10000000 25 18446744073709551615 1 1";

    [Fact]
    public void Fields_are_those_of_proc_5()
    {
        var stat = ProcessStat.Parse($"42 (qemu-system-x86) {Tail}\n");

        Assert.Equal(new ProcessStat('S', 7, TimeSpan.FromSeconds(2), 123456789, 25L * Environment.SystemPageSize), stat);
    }

    [Theory]
    [InlineData("a) S 1 (b")]
    [InlineData(") R 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1")]
    [InlineData("two words")]
    [InlineData("((()))")]
    public void A_name_with_parentheses_and_spaces_shifts_nothing(string name) =>
        Assert.Equal(123456789ul, ProcessStat.Parse($"42 ({name}) {Tail}")!.StartTime);

    [Theory]
    [InlineData("")]
    [InlineData("42 (sh")]
    [InlineData("42 (sh)")]
    [InlineData("42 (sh) S 1 2")]
    [InlineData("42 (sh) S 7 42 42 0 -1 4194560 101 0 0 0 x 50 0 0 20 0 3 0 123456789 10000000 25 0 1 1")]
    public void What_is_no_stat_line_is_null(string text) => Assert.Null(ProcessStat.Parse(text));

    [Theory]
    [InlineData('Z', false)]
    [InlineData('X', false)]
    [InlineData('D', true)]
    [InlineData('T', true)]
    public void A_zombie_does_not_run(char state, bool runs) =>
        Assert.Equal(runs, ProcessStat.Parse($"42 (sh) {state}{Tail[1..]}")!.IsRunning);

    [Fact]
    public void This_process_is_found_and_another_start_time_is_another_process()
    {
        var self = ProcessIdentity.Read(Environment.ProcessId)!.Value;

        Assert.True(self.IsRunning);
        Assert.False((self with { StartTime = self.StartTime + 1 }).IsRunning);
    }
}
