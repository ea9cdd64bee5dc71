using Ravel.Vmm.Kernels;

namespace Ravel.Unit.Vmm.Kernels;

public sealed class KernelConfigurationTests
{
    [Fact]
    public void An_option_that_kconfig_dropped_is_found_whatever_was_wanted_of_it()
    {
        const string Wanted = "CONFIG_A=y\n# a comment\nCONFIG_B=64\n# CONFIG_C is not set\n# CONFIG_D is not set\nCONFIG_E=\"x\"\n";
        Assert.Empty(KernelConfiguration.Differences(Wanted, "CONFIG_A=y\nCONFIG_B=64\n# CONFIG_C is not set\nCONFIG_E=\"x\"\nCONFIG_F=y\n"));
        Assert.Equal(
            ["CONFIG_A=y", "CONFIG_B=64", "CONFIG_D=n", "CONFIG_E=\"x\""],
            KernelConfiguration.Differences(Wanted, "# CONFIG_A is not set\nCONFIG_B=32\nCONFIG_D=y\n"));
    }

    [Fact]
    public void The_small_kernel_has_no_modules_and_names_no_option_twice()
    {
        Assert.Contains("# CONFIG_MODULES is not set\n", KernelConfiguration.Fragment, StringComparison.Ordinal);
        var options = KernelConfiguration.Fragment.Split('\n')
            .Select(line => line.StartsWith("CONFIG_", StringComparison.Ordinal) ? line[..line.IndexOf('=', StringComparison.Ordinal)]
                : line.EndsWith(" is not set", StringComparison.Ordinal) ? line[2..^" is not set".Length] : "")
            .Where(option => option.Length > 0)
            .ToList();
        Assert.True(options.Count > 100);
        Assert.Equal(options.Distinct(), options);
    }

    [Fact]
    public void Aptcache_tells_version_and_digest_of_the_first_it_shows()
    {
        const string Shown = "Package: linux-source-6.1\nVersion: 6.1.2-1\nSize: 1\nSHA256: abc\nDescription: x\n\nVersion: 6.1.1-1\nSHA256: def\n";
        Assert.Equal(new SourcePackage("linux-source-6.1", "6.1.2-1", "abc"), DebianKernelSource.Parse(Shown));
        Assert.Null(DebianKernelSource.Parse("N: Unable to locate package\n"));
    }

    [Fact]
    public void Missing_tools_are_named_with_the_packages_that_have_them()
    {
        var error = Assert.Throws<KernelException>(() => BuildTool.Require(
            [new BuildTool("sh", "dash"), new BuildTool("no-such-program", "some-package"), new BuildTool("/no/such/file.h", "other-dev")]));
        Assert.Equal("kernel-build-failed", error.Code);
        Assert.Contains("no-such-program, /no/such/file.h; run: apt-get install some-package other-dev", error.Message, StringComparison.Ordinal);
    }
}
