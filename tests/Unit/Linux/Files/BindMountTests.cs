using Ravel.Linux.Files;

namespace Ravel.Unit.Linux.Files;

public sealed class BindMountTests
{
    [Fact]
    public void Mounts_below_a_directory_are_found_with_escapes_and_not_those_beside_it()
    {
        const string MountInfo =
            """
            22 1 8:1 / / rw - ext4 /dev/sda1 rw
            40 22 8:2 /d.img /srv/jailer/firecracker/a/root/drive0 rw shared:3 - ext4 /dev/sdb rw
            41 22 8:2 /d /srv/jailer/firecracker/ab/root/drive0 rw - ext4 /dev/sdb rw
            42 22 8:2 /d /srv/jailer/firecracker/a/root/my\040disk\134 ro - ext4 /dev/sdb rw
            43 22 0:5 / /srv/jailer/firecracker/a rw - tmpfs tmpfs rw

            """;

        Assert.Equal(
            ["/srv/jailer/firecracker/a/root/drive0", "/srv/jailer/firecracker/a/root/my disk\\"],
            BindMount.Below("/srv/jailer/firecracker/a", MountInfo));
    }
}
