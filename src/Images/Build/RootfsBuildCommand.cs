using System.Globalization;
using Ravel.Images.Archives;

namespace Ravel.Images;

/// <summary><c>raveld rootfs build</c>: an image to a rootfs file, without a daemon and without root.</summary>
public static class RootfsBuildCommand
{
    private const int Success = 0;
    private const int Failure = 1;
    private const int Usage = 64;

    private const string Help =
        """
        Usage: raveld rootfs build --image IMAGE --output FILE [options]

        Builds the EROFS root file system of an OCI image. Needs no daemon and no root; the same image
        gives the same bytes.

        IMAGE is one of
          [REGISTRY/]NAME[:TAG][@DIGEST]   from a registry, as docker pull takes it
          oci:DIR[:TAG]                    an OCI layout directory
          oci-archive:FILE[:TAG]           the same in a tar archive
          docker-archive:FILE[:NAME]       an archive of docker save
          ./PATH or /PATH, [:NAME]         any of the three, told by what it holds
        Archives may be compressed with gzip or zstd, or be a pipe. Of several images NAME is one that the
        archive has, a tag alone, or @N, counted from 0.

        Options:
          --output FILE       where to put it; replaced only when the build is complete
          --json              print one JSON object: manifest digest, size, file
          --registries FILE   mirrors, authorities and credentials of registries (default
                              /etc/ravel/registries.json, if there; environment RAVEL_REGISTRIES)
          --plain-http HOST   a registry without TLS (loopback needs none; may be repeated)
          --quiet             no progress on standard error
          --help              this text

        Prints the image's manifest digest and the size in bytes. Exits with 0, 1 when the build failed,
        or 64 when called wrongly.

        """;

    /// <param name="args">What follows <c>rootfs build</c>.</param>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(string[] args, TextWriter output, TextWriter error, CancellationToken cancellationToken)
    {
        var arguments = Arguments.Parse(args, out var problem);
        if (arguments is null)
        {
            if (problem is null)
            {
                await output.WriteAsync(Help);
                return Success;
            }
            await error.WriteLineAsync($"raveld rootfs build: {problem} (see --help)");
            return Usage;
        }

        using var progress = arguments.Quiet ? null : new BuildProgressText(error, TimeProvider.System);
        try
        {
            var options = RegistryFile.Load(arguments.Registries ?? Environment.GetEnvironmentVariable(RegistryFile.Variable));
            options = options with { PlainHttpRegistries = [.. options.PlainHttpRegistries, .. arguments.PlainHttp] };
            await using var source = ImageLocation.Open(
                arguments.Image, Path.GetDirectoryName(Path.GetFullPath(arguments.Output))!, options, new ImageLimits(), TimeProvider.System, cancellationToken);
            var result = await RootfsFile.BuildAsync(
                source, arguments.Output, new ImageLimits(), TimeProvider.System, progress, cancellationToken);
            progress?.Dispose();
            await output.WriteLineAsync(arguments.Json
                ? $"{{\"manifestDigest\":\"{result.ManifestDigest}\",\"bytes\":{result.Bytes.ToString(CultureInfo.InvariantCulture)},\"file\":{Quote(arguments.Output)}}}"
                : $"{result.ManifestDigest} {result.Bytes.ToString(CultureInfo.InvariantCulture)}");
            return Success;
        }
        catch (ImageException e)
        {
            progress?.Dispose();
            await error.WriteLineAsync($"raveld rootfs build: {e.Message}");
            return e.Code == "invalid-request" ? Usage : Failure;
        }
        catch (OperationCanceledException)
        {
            progress?.Dispose();
            await error.WriteLineAsync("raveld rootfs build: interrupted; nothing was written");
            return Failure;
        }
    }

    private static string Quote(string text) => $"\"{System.Text.Json.JsonEncodedText.Encode(text)}\"";

    private sealed record Arguments(string Image, string Output, bool Json, bool Quiet, IReadOnlyList<string> PlainHttp, string? Registries)
    {
        /// <param name="problem">Null with a null result: help was asked for.</param>
        public static Arguments? Parse(string[] args, out string? problem)
        {
            problem = null;
            string? image = null;
            string? file = null;
            var json = false;
            var quiet = false;
            var plainHttp = new List<string>();
            string? registries = null;
            for (var i = 0; i < args.Length; i++)
            {
                var (option, value) = args[i].IndexOf('=') is > 0 and var equals && args[i].StartsWith("--", StringComparison.Ordinal)
                    ? (args[i][..equals], args[i][(equals + 1)..])
                    : (args[i], null);
                switch (option)
                {
                    case "--help" or "-h":
                        return null;
                    case "--json":
                        json = true;
                        continue;
                    case "--quiet" or "-q":
                        quiet = true;
                        continue;
                    case "--image" or "--output" or "-o" or "--plain-http" or "--registries":
                        value ??= i + 1 < args.Length ? args[++i] : null;
                        if (string.IsNullOrEmpty(value))
                        {
                            problem = $"{option} needs a value";
                            return null;
                        }
                        if (option == "--image")
                            image = value;
                        else if (option == "--plain-http")
                            plainHttp.Add(value);
                        else if (option == "--registries")
                            registries = value;
                        else
                            file = value;
                        continue;
                    default:
                        problem = $"{args[i]} is not an option";
                        return null;
                }
            }
            if (image is null || file is null)
            {
                problem = image is null ? "--image is missing" : "--output is missing";
                return null;
            }
            return new Arguments(image, file, json, quiet, plainHttp, registries);
        }
    }
}
