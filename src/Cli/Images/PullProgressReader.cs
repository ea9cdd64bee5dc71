using Ravel.Cli.Errors;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Images;

/// <summary>Reads the lines of a pull or an import to their end.</summary>
internal static class PullProgressReader
{
    /// <returns>The image, now there.</returns>
    /// <exception cref="CliException">The server's problem, or a stream that ended without a result.</exception>
    public static async Task<Image> ReadAsync(IAsyncEnumerable<PullProgress> lines, string subject, IPullView view)
    {
        try
        {
            await foreach (var line in lines)
            {
                if (line.Problem is { } problem)
                    throw new ProblemException(subject, problem, problem.Code == ProblemCodes.ImageNotFound ? "check its name and tag" : null);
                if (line.Image is { } image)
                    return image;
                view.Report(line);
            }
        }
        finally
        {
            view.End();
        }
        throw new CliException(subject, "the server broke off before the image was there", "try again; see raveld.log in the data directory");
    }
}
