using Ravel.Agent.Guests;
using Ravel.Contracts.Node;
using Ravel.Images;

namespace Ravel.Unit.Agent.Guests;

public sealed class WorkloadPlanTests
{
    private static readonly ImageConfig Image = new()
    {
        Entrypoint = ["/entry", "-x"],
        Cmd = ["serve"],
        Env = ["PATH=/bin", "A=1"],
        User = "www",
        WorkingDir = "/srv",
        StopSignal = "SIGQUIT",
    };

    [Theory]
    [InlineData(null, null, "/entry -x serve")]
    [InlineData(null, "other", "/entry -x other")]
    [InlineData("/mine", null, "/mine")]
    [InlineData("/mine", "other", "/mine other")]
    [InlineData("", "other", "other")]
    [InlineData(null, "", "/entry -x")]
    public void Entrypoint_and_command_follow_Dockers_rules(string? entrypoint, string? command, string expected)
    {
        var spec = new MachineSpec { Image = "i", Entrypoint = List(entrypoint), Command = List(command) };
        Assert.Equal(expected, string.Join(' ', WorkloadPlan.Process(spec, Image).Arguments));
    }

    [Fact]
    public void Nothing_to_run_is_refused()
    {
        var spec = new MachineSpec { Image = "i", Entrypoint = List("") };
        Assert.Equal("invalid-request", Assert.Throws<InstanceException>(() => WorkloadPlan.Process(spec, Image)).Code);
    }

    [Fact]
    public void Variables_are_replaced_in_place_and_added_behind()
    {
        var spec = new MachineSpec { Image = "i" };
        spec.Environment.Add(new EnvironmentVariable { Name = "B", Value = "x=y" });
        spec.Environment.Add(new EnvironmentVariable { Name = "PATH", Value = "/usr/bin" });
        Assert.Equal(["PATH=/usr/bin", "A=1", "B=x=y"], WorkloadPlan.Process(spec, Image).Environment);
    }

    [Fact]
    public void User_and_directory_are_the_images_unless_the_machine_says_otherwise()
    {
        var image = WorkloadPlan.Process(new MachineSpec { Image = "i" }, Image);
        Assert.Equal(("www", "/srv"), (image.User, image.WorkingDirectory));
        var own = WorkloadPlan.Process(new MachineSpec { Image = "i", User = "0:0", WorkingDirectory = "/" }, Image);
        Assert.Equal(("0:0", "/"), (own.User, own.WorkingDirectory));
    }

    [Theory]
    [InlineData(0, "SIGQUIT", 3)]
    [InlineData(2, "SIGQUIT", 2)]
    [InlineData(0, "", 15)]
    [InlineData(0, "nonsense", 15)]
    [InlineData(0, "9", 9)]
    [InlineData(0, "usr1", 10)]
    [InlineData(0, "RTMIN+3", 37)]
    [InlineData(0, "SIGRTMAX-1", 63)]
    [InlineData(0, "RTMIN+99", 15)]
    [InlineData(0, "65", 15)]
    public void The_stop_signal_is_the_machines_else_the_images_else_SIGTERM(int own, string image, int expected)
    {
        var spec = new MachineSpec { Stop = new StopPolicy { Signal = own } };
        Assert.Equal(expected, WorkloadPlan.StopSignal(spec, Image with { StopSignal = image }));
    }

    [Fact]
    public void What_is_told_of_a_command_is_no_longer_than_a_line()
    {
        Assert.Equal(["nginx", "-g", ""], WorkloadPlan.Told(["nginx", "-g", ""]));
        Assert.Equal(["sh", "-c", new string('x', 506)], WorkloadPlan.Told(["sh", "-c", new string('x', 100_000), "more"]));
        Assert.Equal(512, WorkloadPlan.Told([.. Enumerable.Repeat("", 100_000)]).Count);
    }

    private static StringList? List(string? words)
    {
        if (words is null)
            return null;
        var list = new StringList();
        list.Values.AddRange(words.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        return list;
    }
}
