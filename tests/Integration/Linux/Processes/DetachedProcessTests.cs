using System.Text;
using Ravel.Linux.Cgroups;
using Ravel.Linux.Processes;

namespace Ravel.Integration.Linux.Processes;

/// <summary>Real processes and control groups; needs root.</summary>
public sealed class DetachedProcessTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-process").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData("exit 7", 7, 0)]
    [InlineData("kill -9 $$", 137, 9)]
    [InlineData("true", 0, 0)]
    public async Task A_child_is_reaped_with_its_status(string script, int code, int signal)
    {
        var process = Start(script);

        Assert.Equal(new ExitStatus(code, signal), await process.Exited.WaitAsync(Limit));
        Assert.Null(ProcessStat.Read(process.Identity.Pid));
    }

    [Fact]
    public async Task A_program_that_is_not_there_ends_with_127_and_words()
    {
        using var output = OutputPipe.Create(Pipe);
        var process = DetachedProcess.Start(new DetachedProcessSpec("/nowhere/vmm", []) { Output = Pipe });

        Assert.Equal(127, (await process.Exited.WaitAsync(Limit))!.Value.Code);
        Assert.Contains("/nowhere/vmm", Encoding.UTF8.GetString(output.ReadTail()));
    }

    [Fact]
    public async Task Only_named_descriptors_are_inherited_and_in_their_order()
    {
        using var output = OutputPipe.Create(Pipe);
        using var first = File.OpenHandle(Path.Combine(_directory, "first"), FileMode.Create, FileAccess.ReadWrite);
        using var second = File.OpenHandle(Path.Combine(_directory, "second"), FileMode.Create, FileAccess.ReadWrite);
        var process = DetachedProcess.Start(
            new DetachedProcessSpec("/bin/sh", ["-c", "n=0; while [ $n -lt 64 ]; do [ -L /proc/$$/fd/$n ] && echo $n $(readlink /proc/$$/fd/$n); n=$((n+1)); done"])
            {
                Output = Pipe,
                Inherited = [second, first],
            });
        await process.Exited.WaitAsync(Limit);

        Assert.Equal(
            $"0 /dev/null\n1 {Pipe}\n2 {Pipe}\n3 {_directory}/second\n4 {_directory}/first\n",
            Encoding.UTF8.GetString(output.ReadTail()));
    }

    [Fact]
    public async Task The_session_is_its_own_signals_are_default_and_no_environment_leaks()
    {
        Environment.SetEnvironmentVariable("RAVEL_TEST_SECRET", "hunter2");
        using var output = OutputPipe.Create(Pipe);
        var process = Start("echo $$; read -r a b c d e session rest < /proc/$$/stat; echo $session; while read -r name mask; do case $name in SigBlk:|SigIgn:) echo $name $mask;; esac; done < /proc/$$/status; env", Pipe);
        await process.Exited.WaitAsync(Limit);

        var lines = Encoding.UTF8.GetString(output.ReadTail()).Split('\n');
        Assert.Equal(process.Identity.Pid.ToString(), lines[0]);
        Assert.Equal(lines[0], lines[1]);
        Assert.Equal("SigBlk: 0000000000000000", lines[2]);
        // glibc's posix_spawn leaves its two internal signals (32, 33) ignored.
        Assert.Equal(0ul, Convert.ToUInt64(lines[3]["SigIgn: ".Length..], 16) & ~0x1_8000_0000ul);
        Assert.DoesNotContain(lines, line => line.Contains("hunter2"));
    }

    [Fact]
    public async Task A_chatty_process_neither_blocks_nor_keeps_more_than_the_newest_64_KiB()
    {
        using var output = OutputPipe.Create(Pipe);
        var process = Start("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done 2>/dev/null; echo last words", Pipe);
        await process.Exited.WaitAsync(Limit);

        var tail = output.ReadTail();
        Assert.Equal(OutputPipe.Capacity, tail.Length);
    }

    [Fact]
    public async Task Output_nobody_reads_stays_in_the_kernel_and_is_read_later()
    {
        OutputPipe.Create(Pipe).Dispose();
        var process = Start("echo early; exec sleep 1000", Pipe);
        using var hold = PidFd.TryOpen(process.Identity)!;
        try
        {
            using var output = OutputPipe.Open(Pipe)!;
            await UntilAsync(() => output.ReadTail().Length > 0);
            Assert.Equal("early\n", Encoding.UTF8.GetString(output.ReadTail()));
        }
        finally
        {
            hold.Signal(9);
            await hold.Exited.WaitAsync(Limit);
        }
    }

    [Fact]
    public async Task A_held_process_gets_signals_and_its_end_is_seen()
    {
        var process = Start("exec sleep 1000");
        using var hold = PidFd.TryOpen(process.Identity)!;

        Assert.False(hold.Exited.IsCompleted);
        Assert.True(hold.Signal(15));
        await hold.Exited.WaitAsync(Limit);
        await process.Exited.WaitAsync(Limit);
        Assert.False(hold.Signal(15));
        Assert.Null(PidFd.TryOpen(process.Identity));
    }

    [Fact]
    public void A_pid_of_another_start_time_is_not_held()
    {
        var self = ProcessIdentity.Read(Environment.ProcessId)!.Value;

        Assert.Null(PidFd.TryOpen(self with { StartTime = self.StartTime + 1 }));
    }

    [Fact]
    public async Task The_program_is_in_its_group_from_the_first_instruction_and_dies_with_it()
    {
        // A tree of its own: other tests of this process have groups at the same time.
        var tree = CgroupTree.Detect($"ravel-test-{Environment.ProcessId}-group");
        var group = tree.Create("0/one", new CgroupLimits(256L << 20, 1.5));
        try
        {
            using var output = OutputPipe.Create(Pipe);
            var process = DetachedProcess.Start(
                new DetachedProcessSpec("/bin/sh", ["-c", "cat /proc/$$/cgroup; sleep 1000 & exec sleep 1001"]) { Output = Pipe, Cgroup = group });
            // Two processes can be the shell and cat: what cat printed says that it is past that.
            await UntilAsync(() => output.ReadTail().Length > 0 && group.ListProcesses().Count == 2);

            Assert.Contains($":/{tree.PathOf("0/one")}\n", Encoding.UTF8.GetString(output.ReadTail()));
            Assert.Contains(process.Identity.Pid, group.ListProcesses());
            Assert.NotNull(group.ReadUsage().CpuTime);
            await group.KillAllAsync(TimeProvider.System, Limit, CancellationToken.None);
            Assert.Equal(9, (await process.Exited.WaitAsync(Limit))!.Value.Signal);
        }
        finally
        {
            await group.KillAllAsync(TimeProvider.System, Limit, CancellationToken.None);
            await group.RemoveAsync(TimeProvider.System, CancellationToken.None);
        }
        Assert.False(group.Exists);
        Assert.All(group.Directories, directory => Assert.False(Directory.Exists(Path.GetDirectoryName(Path.GetDirectoryName(directory)))));
        await group.RemoveAsync(TimeProvider.System, CancellationToken.None);
    }

    [Fact]
    public async Task A_group_that_cannot_be_joined_runs_nothing()
    {
        using var output = OutputPipe.Create(Pipe);
        var group = CgroupTree.Detect($"ravel-test-{Environment.ProcessId}").Open("absent");
        var marker = Path.Combine(_directory, "ran");
        var process = DetachedProcess.Start(new DetachedProcessSpec("/bin/touch", [marker]) { Output = Pipe, Cgroup = group });

        Assert.Equal(125, (await process.Exited.WaitAsync(Limit))!.Value.Code);
        Assert.Contains("cgroup.procs", Encoding.UTF8.GetString(output.ReadTail()));
        Assert.False(File.Exists(marker));
    }

    [Fact]
    public void This_host_can_make_groups_and_a_read_only_one_says_which_file()
    {
        Assert.Empty(CgroupTree.Detect($"ravel-test-probe-{Environment.ProcessId}").Probe());

        var file = Path.Combine(_directory, "file");
        File.WriteAllText(file, "");
        var problem = Assert.Single(new CgroupTree(new CgroupMounts(file, new Dictionary<string, string>()), "ravel").Probe());
        Assert.Contains(file, problem);
    }

    private string Pipe => Path.Combine(_directory, "out");

    private static DetachedProcess Start(string script, string? output = null) =>
        DetachedProcess.Start(new DetachedProcessSpec("/bin/sh", ["-c", script]) { Output = output });

    private static async Task UntilAsync(Func<bool> condition)
    {
        using var deadline = new CancellationTokenSource(Limit);
        while (!condition())
            await Task.Delay(5, deadline.Token);
    }
}
