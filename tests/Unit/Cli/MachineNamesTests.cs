using Ravel.Cli.Errors;
using Ravel.Cli.Machines;
using Ravel.Testing.Cli;

namespace Ravel.Unit.Cli;

public sealed class MachineNamesTests
{
    private static readonly Ravel.Contracts.Api.Machine[] Machines =
    [
        SampleMachines.Started("abc00000000001", "web"),
        SampleMachines.Started("abc00000000002", "db"),
        SampleMachines.Started("def00000000003", "web", app: "shop"),
        // A name that looks like the beginning of another's id.
        SampleMachines.Started("12300000000004", "def"),
    ];

    [Theory]
    [InlineData("abc00000000001", "abc00000000001")]
    [InlineData("db", "abc00000000002")]
    [InlineData("123", "12300000000004")]
    [InlineData("def0", "def00000000003")]
    [InlineData("def", "12300000000004")]
    [InlineData("shop/web", "def00000000003")]
    public void A_machine_is_named_by_id_name_or_unique_prefix(string text, string id) =>
        Assert.Equal(id, MachineNames.Resolve(text, Machines).Id.Value);

    [Fact]
    public void A_name_of_two_machines_is_refused_with_the_candidates()
    {
        var error = Assert.Throws<CliException>(() => MachineNames.Resolve("web", Machines));

        Assert.Equal(
            "ravel: web: several machines match: abc00000000001 (default/web), def00000000003 (shop/web); give more of the id, or APP/NAME",
            error.Line);
        Assert.Equal(ExitCodes.Error, error.ExitCode);
    }

    [Fact]
    public void A_prefix_of_two_ids_is_refused() =>
        Assert.Contains("abc00000000001 (default/web), abc00000000002 (default/db)", Refusal("abc"));

    [Fact]
    public void Many_candidates_stay_one_line()
    {
        var many = Enumerable.Range(10, 20).Select(n => SampleMachines.Started($"aa0000000000{n}", $"m{n}")).ToArray();

        var error = Assert.Throws<CliException>(() => MachineNames.Resolve("aa", many));

        Assert.EndsWith("and 15 more; give more of the id, or APP/NAME", error.Line);
    }

    [Fact]
    public void A_name_that_is_not_there_is_refused() =>
        Assert.Equal("ravel: nope: no machine has this name or id; see: ravel ps -a", Refusal("nope"));

    [Fact]
    public void An_empty_name_matches_nothing() => Assert.Contains("the name is empty", Refusal(""));

    private static string Refusal(string text) => Assert.Throws<CliException>(() => MachineNames.Resolve(text, Machines)).Line;
}
