using Ravel.Linux.Processes;
using Ravel.Vmm;
using Ravel.Vmm.Firecracker;

namespace Ravel.Unit.Vmm.Firecracker;

/// <summary>The directory a VM writes is hostile.</summary>
public sealed class VmPlaceTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("rv-place-").FullName;
    private readonly VmPlace _place;

    public VmPlaceTests()
    {
        _place = new VmPlace(Path.Combine(_directory, "root"), _directory, null);
        Directory.CreateDirectory(_place.Directory);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void Pipes_that_cannot_all_be_opened_are_closed_again()
    {
        foreach (var name in (string[])[VmFiles.Log, VmFiles.Metrics])
            OutputPipe.Create(Path.Combine(_directory, name)).Dispose();
        // Where the socket would be made.
        Directory.CreateDirectory(Path.Combine(_directory, VmFiles.LinkSocket + ".new"));

        Assert.Throws<VmmException>(() => VmPipes.Open(_place, _directory));

        Assert.DoesNotContain(
            new DirectoryInfo("/proc/self/fd").EnumerateFileSystemInfos(), fd => fd.LinkTarget?.StartsWith(_directory, StringComparison.Ordinal) == true);
    }

    [Fact]
    public void A_plain_file_is_taken_under_its_new_name_and_may_be_read_by_all()
    {
        File.WriteAllText(Path.Combine(_place.Directory, "memory"), "saved");
        var target = Path.Combine(_directory, "kept");

        _place.Take("memory", target, maximum: 5);

        Assert.Equal("saved", File.ReadAllText(target));
        Assert.True(File.GetUnixFileMode(target).HasFlag(UnixFileMode.OtherRead));
        Assert.Empty(Directory.EnumerateFileSystemEntries(_place.Directory));
    }

    [Fact]
    public void A_link_to_a_file_of_the_hosts_is_not_taken_and_that_file_not_touched()
    {
        var secret = Path.Combine(_directory, "secret");
        File.WriteAllText(secret, "x");
        File.SetUnixFileMode(secret, UnixFileMode.UserRead);
        File.CreateSymbolicLink(Path.Combine(_place.Directory, "memory"), secret);

        Assert.Throws<IOException>(() => _place.Take("memory", Path.Combine(_directory, "kept"), maximum: 5));

        Assert.False(File.Exists(Path.Combine(_directory, "kept")));
        Assert.Equal(UnixFileMode.UserRead, File.GetUnixFileMode(secret));
    }

    [Fact]
    public void A_file_that_is_empty_too_long_or_missing_is_not_taken()
    {
        var target = Path.Combine(_directory, "kept");
        Assert.ThrowsAny<IOException>(() => _place.Take("memory", target, maximum: 5));
        File.WriteAllText(Path.Combine(_place.Directory, "memory"), "");
        Assert.Throws<IOException>(() => _place.Take("memory", target, maximum: 5));
        File.WriteAllText(Path.Combine(_place.Directory, "memory"), "longer");
        Assert.Throws<IOException>(() => _place.Take("memory", target, maximum: 5));
        Assert.False(File.Exists(target));
    }
}
