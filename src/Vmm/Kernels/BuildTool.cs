using Ravel.Contracts.Api;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Kernels;

/// <summary>Something a build of a kernel needs.</summary>
/// <param name="Probe">A program in PATH, or the absolute path of a file.</param>
/// <param name="Package">Debian's package of it.</param>
public sealed record BuildTool(string Probe, string Package)
{
    /// <summary>What compiling a kernel takes (kernel: Documentation/process/changes.rst), and what unpacks its source.</summary>
    public static IReadOnlyList<BuildTool> ForKernels { get; } =
    [
        new("make", "make"),
        new("gcc", "gcc"),
        new("/usr/include/stdlib.h", "libc6-dev"),
        new("ld", "binutils"),
        new("flex", "flex"),
        new("bison", "bison"),
        new("bc", "bc"),
        new("perl", "perl"),
        // objtool reads the compiler's output with it.
        new("/usr/include/gelf.h", "libelf-dev"),
        new("dpkg-deb", "dpkg"),
        new("tar", "tar"),
        new("xz", "xz-utils"),
        new("flock", "util-linux"),
    ];

    /// <exception cref="KernelException"><c>kernel-build-failed</c>, naming all that is missing.</exception>
    public static void Require(IEnumerable<BuildTool> tools)
    {
        var missing = tools.Where(tool => !tool.IsThere).ToList();
        if (missing.Count == 0)
            return;
        throw new KernelException(
            ProblemCodes.KernelBuildFailed,
            $"Building a kernel needs {string.Join(", ", missing.Select(tool => tool.Probe))}; "
            + $"run: apt-get install {string.Join(' ', missing.Select(tool => tool.Package).Distinct())}");
    }

    private bool IsThere => Path.IsPathRooted(Probe) ? File.Exists(Probe) : Executable.Find(Probe) is not null;
}
