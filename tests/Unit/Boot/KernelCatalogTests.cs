using Ravel.Vmm;
using Ravel.Vmm.Boot;

namespace Ravel.Unit.Boot;

public sealed class KernelCatalogTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("ravel-catalog-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private KernelCatalog Catalog(string? named = null) => new(named, Path.Combine(_root, "opt/bin"), _root);

    private string Add(string path)
    {
        path = Path.Combine(_root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, "x");
        return path;
    }

    [Fact]
    public void Without_any_kernel_the_error_says_where_it_looked_and_what_to_do()
    {
        Assert.Null(Catalog().TryFind());
        var error = Assert.Throws<VmmException>(() => Catalog().Find());
        Assert.Contains(Path.Combine(_root, "opt/kernel"), error.Message, StringComparison.Ordinal);
        Assert.Contains("./dev setup", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_kernel_beside_the_executable_comes_before_the_systems_and_the_hosts()
    {
        Add("boot/vmlinuz-6.1.0-9-cloud-amd64");
        Add("lib/modules/6.1.0-9-cloud-amd64/kernel/fs/erofs/erofs.ko");
        Assert.Equal("6.1.0-9-cloud-amd64", Catalog().Find().Release);
        Add("usr/lib/ravel/kernel/6.2/vmlinuz");
        Assert.Equal("6.2", Catalog().Find().Release);
        Add("opt/kernel/6.3/vmlinuz");
        Assert.Equal("6.3", Catalog().Find().Release);
    }

    [Fact]
    public void The_newest_of_several_is_taken_by_number_not_by_letter()
    {
        foreach (var release in (string[])["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "5.10.0-100-cloud-amd64"])
            Add($"usr/lib/ravel/kernel/{release}/vmlinuz");
        Assert.Equal("6.1.0-56-cloud-amd64", Catalog().Find().Release);
    }

    [Fact]
    public void A_host_kernel_without_its_modules_is_no_guest_kernel()
    {
        Add("boot/vmlinuz-6.1.0-9-cloud-amd64");
        Assert.Null(Catalog().TryFind());
    }

    [Fact]
    public void A_named_kernel_may_be_a_file_its_directory_or_the_one_above()
    {
        var file = Add("mine/6.9/vmlinux");
        Add("mine/6.9/modules/erofs.ko");
        foreach (var name in (string[])[file, Path.GetDirectoryName(file)!, Path.Combine(_root, "mine")])
        {
            var kernel = Catalog(name).Find();
            Assert.Equal(new GuestKernel("6.9", file, Path.Combine(_root, "mine/6.9/modules")), kernel);
        }
    }

    [Fact]
    public void A_name_that_leads_nowhere_is_an_error_even_if_there_are_other_kernels()
    {
        Add("usr/lib/ravel/kernel/6.2/vmlinuz");
        var missing = Path.Combine(_root, "mine");
        Assert.Contains(missing, Assert.Throws<VmmException>(() => Catalog(missing).Find()).Message, StringComparison.Ordinal);
    }
}
