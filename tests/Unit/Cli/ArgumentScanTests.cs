using Ravel.Cli;
using Ravel.Cli.Errors;
using Ravel.Cli.Parsing;

namespace Ravel.Unit.Cli;

public sealed class ArgumentScanTests
{
    private readonly CliCommand _root = RootCommands.Create();

    [Theory]
    [InlineData("run img", "run -- img")]
    [InlineData("run img ls -l --all", "run -- img ls -l --all")]
    [InlineData("run img -d --name x", "run -- img -d --name x")]
    [InlineData("run -d img sh -c x", "run -d -- img sh -c x")]
    [InlineData("run --name web img --name y", "run --name web -- img --name y")]
    [InlineData("run --name=web img", "run --name=web -- img")]
    [InlineData("run -e A=b -eC=d -p8080:80 img", "run -e A=b -eC=d -p8080:80 -- img")]
    [InlineData("run -de A=b img", "run -de A=b -- img")]
    [InlineData("run img git log -- file", "run -- img git log -- file")]
    [InlineData("run -d -- img -x", "run -d -- img -x")]
    [InlineData("--data /x run --rm img", "--data /x run --rm -- img")]
    [InlineData("run --data /x img", "run --data /x -- img")]
    [InlineData("exec -it web sh -c ls", "exec -it -- web sh -c ls")]
    [InlineData("exec web -x", "exec -- web -x")]
    [InlineData("rm web -f", "rm web -f")]
    [InlineData("image rm a b", "image rm a b")]
    [InlineData("run", "run")]
    [InlineData("", "")]
    public void The_guests_command_begins_at_the_first_operand(string typed, string prepared) =>
        Assert.Equal(Words(prepared), ArgumentScan.Prepare(_root, Words(typed)));

    [Theory]
    [InlineData("run --bogus img", "run: unknown option --bogus")]
    [InlineData("run -dZ img", "run: unknown option -dZ")]
    [InlineData("--bogus ps", "ravel: unknown option --bogus")]
    [InlineData("image ls -x", "image ls: unknown option -x")]
    [InlineData("rnu img", "rnu: is no command of ravel; did you mean: ravel run")]
    [InlineData("image pul x", "did you mean: ravel image pull")]
    [InlineData("frobnicate", "frobnicate: is no command of ravel; see: ravel --help")]
    public void What_is_unknown_is_refused_with_exit_code_2(string typed, string message)
    {
        var error = Assert.Throws<CliException>(() => ArgumentScan.Prepare(_root, Words(typed)));

        Assert.Contains(message, error.Line);
        Assert.Equal(ExitCodes.Usage, error.ExitCode);
    }

    [Fact]
    public void All_after_the_image_reaches_the_parser_as_it_was_typed()
    {
        string[] typed = ["run", "-e", "A=1", "img", "-c", "--", "-e", "@file", "", "--help"];

        var result = _root.Parse(ArgumentScan.Prepare(_root, typed), new() { ResponseFileTokenReplacer = null });

        Assert.Empty(result.Errors);
        Assert.Equal(["-c", "--", "-e", "@file", "", "--help"], result.GetValue<string[]>("COMMAND")!);
        Assert.Equal(["A=1"], result.GetValue<string[]>("--env")!);
        Assert.False(result.GetValue(GlobalOptions.Help));
    }

    [Fact]
    public void Every_command_has_a_description_and_every_one_that_runs_has_an_example()
    {
        var without = Descendants(_root)
            .Where(command => !command.Hidden && (string.IsNullOrEmpty(command.Description) || command.Examples.Count == 0))
            .Select(command => command.Path);

        Assert.Empty(without);
    }

    [Fact]
    public void Examples_name_commands_and_options_that_exist()
    {
        foreach (var command in Descendants(_root))
        {
            foreach (var example in command.Examples)
            {
                var words = Words(example.Split('#')[0]).SkipWhile(word => word != "ravel").Skip(1).TakeWhile(word => word is not (";" or "|" or ['$', '(', ..]));
                ArgumentScan.Prepare(_root, [.. words.Select(word => word.TrimEnd(')', ';'))]);
            }
        }
    }

    private static IEnumerable<CliCommand> Descendants(CliCommand command) =>
        command.Subcommands.OfType<CliCommand>().SelectMany(child => Descendants(child).Prepend(child));

    private static string[] Words(string line) => line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
}
