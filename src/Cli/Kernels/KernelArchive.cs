using Ravel.Cli.Errors;
using Ravel.Cli.Images;

namespace Ravel.Cli.Kernels;

/// <summary>What <c>kernel add</c> uploads: a file as it is, or a directory with a kernel as a tar made on the way.</summary>
internal static class KernelArchive
{
    public static HttpContent Open(string path) => Directory.Exists(path) && !HasKernel(path)
        ? throw CliException.Usage(path, "has no vmlinuz or vmlinux", "give a directory with one (and modules/), or a kernel file")
        : ImageArchive.OpenFileOrTree(path);

    private static bool HasKernel(string directory) =>
        File.Exists(Path.Combine(directory, "vmlinuz")) || File.Exists(Path.Combine(directory, "vmlinux"));
}
