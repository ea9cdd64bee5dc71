using System.Reflection;
using Ravel.Cli.Errors;
using Ravel.Contracts.Api;

namespace Ravel.Unit.Cli;

public sealed class ErrorTests
{
    public static TheoryData<string> EveryCode()
    {
        var codes = typeof(ProblemCodes).GetFields(BindingFlags.Public | BindingFlags.Static).Where(field => field.IsLiteral);
        return [.. codes.Select(field => (string)field.GetRawConstantValue()!)];
    }

    [Theory]
    [MemberData(nameof(EveryCode))]
    public void Where_a_workload_would_have_run_every_problem_is_125(string code) =>
        Assert.Equal(125, new ProblemException("x", Problem(code)) is var error ? ExitCodes.Of(error, runsWorkload: true) : 0);

    [Theory]
    [MemberData(nameof(EveryCode))]
    public void Elsewhere_a_problem_is_1_or_a_wrong_request_2(string code)
    {
        var expected = code is ProblemCodes.InvalidRequest or ProblemCodes.MalformedJson ? 2 : 1;

        Assert.Equal(expected, ExitCodes.Of(new ProblemException("x", Problem(code)), runsWorkload: false));
    }

    [Fact]
    public void What_was_typed_wrong_is_125_where_2_could_be_the_workloads_own() =>
        Assert.Equal(125, ExitCodes.Of(CliException.Usage("run", "no"), runsWorkload: true));

    [Fact]
    public void A_problem_reads_as_one_line_with_subject_and_remedy()
    {
        var error = new ProblemException("web", Problem(ProblemCodes.PortTaken, "Port 80/tcp is taken.\nBy\tanother.\e[31m"));

        Assert.Equal("ravel: web: Port 80/tcp is taken. By\uFFFDanother.\uFFFD[31m; publish another port, or stop what uses it", error.Line);
    }

    [Fact]
    public void A_problem_that_names_its_remedy_gets_no_second_one() =>
        Assert.Equal("ravel: web: Port 80 is taken; choose another", new ProblemException("web", Problem(ProblemCodes.PortTaken, "Port 80 is taken; choose another.")).Line);

    [Fact]
    public void An_answer_without_a_problem_document_still_has_a_code() =>
        Assert.Equal((ProblemCodes.Unauthorized, "the server answered 401 Unauthorized"), (Problems.FromStatus(401, "Unauthorized").Code, Problems.FromStatus(401, "Unauthorized").Detail));

    private static Problem Problem(string code, string detail = "d") => new() { Title = "t", Status = 400, Detail = detail, Code = code };
}
