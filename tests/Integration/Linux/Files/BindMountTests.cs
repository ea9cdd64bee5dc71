using Ravel.Linux.Files;
using Ravel.Testing.Needs;

namespace Ravel.Integration.Linux.Files;

public sealed class BindMountTests
{
    [Fact]
    public void Mounts_below_a_directory_that_was_named_through_a_link_are_removed()
    {
        Need.Root();
        var root = Directory.CreateTempSubdirectory("ravel-mounts-").FullName;
        try
        {
            var jail = Directory.CreateDirectory(Path.Combine(root, "jail")).FullName;
            File.WriteAllText(Path.Combine(root, "source"), "shown");
            File.WriteAllText(Path.Combine(jail, "drive"), "below");
            Directory.CreateSymbolicLink(Path.Combine(root, "link"), jail);
            BindMount.Create(Path.Combine(root, "source"), Path.Combine(jail, "drive"), isReadOnly: true);
            Assert.Equal("shown", File.ReadAllText(Path.Combine(jail, "drive")));

            BindMount.RemoveBelow(Path.Combine(root, "link"));

            Assert.Equal("below", File.ReadAllText(Path.Combine(jail, "drive")));
            BindMount.RemoveBelow(Path.Combine(root, "gone"));
        }
        finally
        {
            BindMount.RemoveBelow(root);
            Directory.Delete(root, recursive: true);
        }
    }
}
