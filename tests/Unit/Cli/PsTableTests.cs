using Ravel.Cli.Machines;
using Ravel.Contracts.Api;
using Ravel.Testing.Cli;

namespace Ravel.Unit.Cli;

public sealed class PsTableTests
{
    private static readonly Machine[] Machines =
    [
        SampleMachines.Started("abc00000000001", "web") with
        {
            Config = new MachineConfig
            {
                Image = "nginx:1",
                Init = new InitConfig { Cmd = ["sh", "-c", "exit 7"] },
                PublishedPorts =
                [
                    new PortConfig { Protocol = "tcp", HostPort = 8080, GuestPort = 80 },
                    new PortConfig { Protocol = "udp", HostAddress = "::1", HostPort = 53, GuestPort = 53 },
                ],
            },
        },
        SampleMachines.Exited("abc00000000002", "job", 7) with { Command = ["/docker-entrypoint.sh", "nginx"] },
        SampleMachines.Failed("abc00000000003", "bad", "image-not-found", "no such image"),
    ];

    [Fact]
    public void In_a_pipe_it_is_plain_text_in_columns()
    {
        using var terminal = new TestTerminal(isTerminal: false, ("TERM", "xterm"));

        PsCommand.Render(Machines, whole: false, SampleMachines.Now).Write(terminal.Terminal);

        Assert.Equal(
            """
            ID               NAME   IMAGE     COMMAND                    STATE                                    PORTS
            abc00000000001   web    nginx:1   sh -c 'exit 7'             Up 3 minutes                             0.0.0.0:8080->80/tcp, [::1]:53->53/udp
            abc00000000002   job    nginx:1   /docker-entrypoint.sh n…   Exited (7) 2 minutes ago
            abc00000000003   bad    nginx:1                              Failed (image-not-found) 5 seconds ago

            """,
            terminal.Output);
    }

    [Fact]
    public void On_a_terminal_states_have_colours_and_columns_stay_aligned()
    {
        using var terminal = new TestTerminal(isTerminal: true, ("TERM", "xterm"));

        PsCommand.Render(Machines, whole: false, SampleMachines.Now).Write(terminal.Terminal);

        Assert.Contains("\e[32mUp 3 minutes\e[0m                             0.0.0.0:8080", terminal.Output);
        Assert.Contains("\e[31mExited (7) 2 minutes ago\e[0m\n", terminal.Output);
        Assert.StartsWith("\e[1mID\e[0m  ", terminal.Output);
    }

    [Theory]
    [InlineData("NO_COLOR", "1")]
    [InlineData("TERM", "dumb")]
    public void Colours_can_be_turned_off_on_a_terminal(string name, string value)
    {
        using var terminal = new TestTerminal(isTerminal: true, (name, value), ("TERM", "xterm"));

        PsCommand.Render(Machines, whole: false, SampleMachines.Now).Write(terminal.Terminal);

        Assert.DoesNotContain("\e", terminal.Output);
    }

    [Fact]
    public void Apps_are_shown_as_soon_as_there_are_two()
    {
        using var terminal = new TestTerminal();
        Machine[] machines = [SampleMachines.Started("abc00000000001", "web"), SampleMachines.Started("abc00000000002", "web", app: "shop")];

        PsCommand.Render(machines, whole: false, SampleMachines.Now).Write(terminal.Terminal);

        Assert.Contains("default/web", terminal.Output);
        Assert.Contains("shop/web", terminal.Output);
    }

    [Fact]
    public void What_a_tenant_wrote_cannot_steer_the_terminal()
    {
        using var terminal = new TestTerminal(isTerminal: true);
        var machine = SampleMachines.Started("abc00000000001", "web") with { Config = new MachineConfig { Image = "x\e[2Jy\n\u202Ez" } };

        PsCommand.Render([machine], whole: false, SampleMachines.Now).Write(terminal.Terminal);

        Assert.Contains("x\uFFFD[2Jy\uFFFD\uFFFDz", terminal.Output);
        Assert.DoesNotContain('\e', terminal.Output);
    }

    [Fact]
    public void A_long_command_is_cut_unless_the_whole_is_asked_for()
    {
        var machine = Machines[0] with { Config = Machines[0].Config with { Init = new InitConfig { Cmd = [new string('a', 40)] } } };

        Assert.Equal(new string('a', 23) + "…", MachineText.Command(machine, whole: false));
        Assert.Equal(new string('a', 40), MachineText.Command(machine, whole: true));
    }

    [Fact]
    public void A_machine_is_up_since_its_workload_runs_not_since_its_launch()
    {
        var machine = SampleMachines.Started("abc00000000001", "web") with { StartedAt = SampleMachines.Now.AddSeconds(-70) };

        Assert.Equal("Up About a minute", MachineText.State(machine, SampleMachines.Now).Text);
    }

    [Fact]
    public void A_machine_that_was_asked_to_stop_did_not_fail()
    {
        var state = MachineText.State(SampleMachines.Exited("abc00000000001", "web", 143, requested: true), SampleMachines.Now);

        Assert.Equal(("Exited (143) 2 minutes ago", Ravel.Cli.Output.Colour.Faint), (state.Text, state.Colour));
    }
}
