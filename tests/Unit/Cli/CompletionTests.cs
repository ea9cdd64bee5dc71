using Ravel.Cli;
using Ravel.Cli.Shell;

namespace Ravel.Unit.Cli;

public sealed class CompletionTests
{
    [Theory]
    [InlineData("", "re", "restart resume")]
    [InlineData("image", "p", "prune pull")]
    [InlineData("run", "--pul", "--pull")]
    [InlineData("run --pull", "", "always missing never")]
    [InlineData("run --pull", "n", "never")]
    [InlineData("up --vmm", "", "firecracker qemu")]
    [InlineData("completion", "", "bash fish zsh")]
    [InlineData("--data /x image", "i", "import inspect")]
    public void Candidates_fit_the_place_of_the_cursor(string before, string current, string expected) =>
        Assert.Equal(expected.Split(' '), Candidates(before, current));

    [Theory]
    [InlineData("run img", "-")]
    [InlineData("exec web", "")]
    [InlineData("run -d img sh", "--")]
    [InlineData("completion bash", "")]
    public void Nothing_is_offered_where_nothing_is_known(string before, string current) => Assert.Empty(Candidates(before, current));

    [Fact]
    public void Hidden_commands_are_not_offered() => Assert.DoesNotContain(CompletionCommands.Hook, Candidates("", ""));

    [Fact]
    public void An_option_in_a_bundle_waits_for_its_value() =>
        Assert.Equal("--env", CompletionPlace.Find(RootCommands.Create(), ["run", "-de"]).Option?.Name);

    private static string[] Candidates(string before, string current) =>
    [
        .. CompletionCommands
            .Candidates(RootCommands.Create(), before.Split(' ', StringSplitOptions.RemoveEmptyEntries), current)
            .Select(candidate => candidate.Text),
    ];
}
