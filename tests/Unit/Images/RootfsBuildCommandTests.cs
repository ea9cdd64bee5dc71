using Ravel.Images;

namespace Ravel.Unit.Images;

public sealed class RootfsBuildCommandTests
{
    [Theory]
    [InlineData("--image is missing")]
    [InlineData("--output is missing", "--image", "x")]
    [InlineData("--image needs a value", "--image")]
    [InlineData("--fast is not an option", "--fast")]
    [InlineData("is not an image reference", "--image", "Not An Image", "--output", "/tmp/never")]
    public async Task Wrong_calls_exit_with_64_and_one_line(string words, params string[] args)
    {
        var (output, error) = (new StringWriter(), new StringWriter());
        Assert.Equal(64, await RootfsBuildCommand.RunAsync(args, output, error, TestContext.Current.CancellationToken));
        Assert.Empty(output.ToString());
        Assert.Contains(words, Assert.Single(error.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries)));
    }

    [Theory]
    [InlineData("oci:/no/such/layout")]
    [InlineData("oci-archive:/no/such/file:tag")]
    [InlineData("docker-archive:/no/such/file")]
    public async Task An_image_that_is_not_there_exits_with_1_and_names_it(string image)
    {
        var (output, error) = (new StringWriter(), new StringWriter());
        Assert.Equal(1, await RootfsBuildCommand.RunAsync(["--image", image, "--output", "/tmp/never"], output, error, TestContext.Current.CancellationToken));
        Assert.Contains(image.Split(':')[1], error.ToString());
    }

    [Fact]
    public async Task Help_is_printed_on_standard_output()
    {
        var output = new StringWriter();
        Assert.Equal(0, await RootfsBuildCommand.RunAsync(["--help"], output, TextWriter.Null, TestContext.Current.CancellationToken));
        Assert.Contains("oci-archive:FILE", output.ToString());
    }
}
