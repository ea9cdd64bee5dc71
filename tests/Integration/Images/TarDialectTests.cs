using Ravel.Images;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>A tree archived by every tar at hand, in every format it writes, and mounted by the kernel: it is the tree.</summary>
/// <remarks>Go's archives are those of umoci and buildah, which <see cref="RootfsEqualsUmociTests"/> reads.</remarks>
public sealed class TarDialectTests : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-tar-").FullName;

    /// <summary>Parts of a tree. A format that cannot hold one goes without.</summary>
    [Flags]
    public enum Parts
    {
        /// <summary>Names up to 90 bytes, files of sizes around a block, modes, symbolic and hard links.</summary>
        Plain = 0,

        /// <summary>Devices of small numbers and a FIFO.</summary>
        Special = 1,

        /// <summary>Paths of over 100 bytes that split at a slash.</summary>
        Split = 2,

        /// <summary>Names of 255 bytes, paths of 3,500 bytes and targets of links as long; names that are not text.</summary>
        Long = 4,

        /// <summary>Owners over 2,097,151.</summary>
        Owners = 8,

        /// <summary>Times to the nanosecond.</summary>
        Precise = 16,

        /// <summary>Extended attributes.</summary>
        Xattrs = 32,

        /// <summary>Files with holes.</summary>
        Sparse = 64,

        /// <summary>Times before 1970.</summary>
        Old = 128,

        /// <summary>A device of the largest number.</summary>
        LargeDevice = 256,

        Gnu = Special | Split | Long | Owners | Old | LargeDevice | Sparse,
        All = Gnu | Precise | Xattrs,
    }

    public async ValueTask DisposeAsync() => await ImageRecipe.DeleteAsync(_directory);

    [Theory]
    [InlineData("v7", Parts.Plain)]
    [InlineData("ustar", Parts.Special | Parts.Split)]
    [InlineData("oldgnu", Parts.Gnu)]
    [InlineData("gnu", Parts.Gnu)]
    [InlineData("gnu --sparse", Parts.Gnu)]
    [InlineData("pax", Parts.All)]
    [InlineData("pax --sparse --sparse-version=0.0", Parts.All)]
    [InlineData("pax --sparse --sparse-version=0.1", Parts.All)]
    [InlineData("pax --sparse --sparse-version=1.0", Parts.All)]
    [InlineData("pax --pax-option=globexthdr.name=/g,comment=global", Parts.All)]
    public Task Gnu_tar(string format, Parts parts) => CompareAsync(
        parts, $"tar {(parts.HasFlag(Parts.Xattrs) ? "--xattrs --xattrs-include='*'" : "")} --format={format} -cf \"$archive\" .");

    [Theory]
    [InlineData("v7tar", Parts.Plain)]
    [InlineData("ustar", Parts.Special | Parts.Split)]
    [InlineData("gnutar", Parts.Special | Parts.Split | Parts.Long | Parts.Owners)]
    [InlineData("pax", Parts.All)]
    [InlineData("pax --options xattrheader=LIBARCHIVE", Parts.All)]
    [InlineData("pax --options xattrheader=SCHILY", Parts.All)]
    public Task Bsdtar(string format, Parts parts) => CompareAsync(parts, $"LC_ALL=C bsdtar --format={format} -cf \"$archive\" .");

    [Theory]
    [InlineData("USTAR_FORMAT", Parts.Special | Parts.Split)]
    [InlineData("GNU_FORMAT", Parts.Gnu & ~Parts.Sparse)]
    [InlineData("PAX_FORMAT", Parts.Gnu & ~Parts.Sparse)]
    public Task Python(string format, Parts parts) => CompareAsync(
        parts, $"python3 -c 'import sys, tarfile; t = tarfile.open(sys.argv[1], \"w\", format=tarfile.{format}, errors=\"surrogateescape\"); t.add(\".\"); t.close()' \"$archive\"");

    private async Task CompareAsync(Parts parts, string archiver)
    {
        var cancellation = TestContext.Current.CancellationToken;
        var tree = Path.Combine(_directory, "tree");
        var archive = Path.Combine(_directory, "tree.tar");
        var rootfs = Path.Combine(_directory, "rootfs.erofs");
        Directory.CreateDirectory(tree);
        var steps = new[]
        {
            (Parts.Plain, "plain"), (Parts.Special, "special"), (Parts.LargeDevice, "largedevice"), (Parts.Split, "split"), (Parts.Long, "long"),
            (Parts.Xattrs, "xattrs"), (Parts.Sparse, "sparse"), (Parts.Owners, "owners"),
            // Times last, because making things changes them.
            (Parts.Plain, "seconds"), (Parts.Precise, "nanoseconds"), (Parts.Old, "old"),
        };
        await CommandRunner.RunCheckedAsync(
            "/bin/sh",
            [
                "-ec",
                $"cd \"$1\"; archive=$2\n{MakeTree}\n{string.Join('\n', steps.Where(step => parts.HasFlag(step.Item1)).Select(step => step.Item2))}\n{archiver}",
                "sh", tree, archive,
            ],
            timeout: TimeSpan.FromMinutes(1), cancellationToken: cancellation);

        await using (var layer = File.OpenRead(archive))
            TestRootfs.BuildFile(rootfs, new ImageLimits(), layer);
        await CommandRunner.RunCheckedAsync("fsck.erofs", [rootfs], cancellationToken: cancellation);
        await using var mounted = await MountedErofs.MountAsync(rootfs, cancellation);
        TreeComparer.AssertNone(TreeComparer.Compare(tree, mounted.Path));
    }

    private const string MakeTree =
        """
        plain() {
            mkdir -p -m 2755 a/b; mkdir -m 1777 'a/with space'; umask 022
            for size in 0 1 511 512 513 4095 4096 4097 20000; do head -c $size /dev/urandom > a/$size; done
            ln a/513 a/b/linked; ln a/513 'a/with space/linked'; ln -s ../513 a/b/symbolic; ln -s nowhere a/dangling
            chmod 4711 a/1; chmod 0 a/511; chown 1000:2000 a/512; : > ./-dash; : > a/'*'
            : > "$(printf '%090d' 1)"
        }
        special() { mknod a/char c 4095 255; mknod a/block b 259 5; mkfifo a/fifo; }
        largedevice() { mknod a/large b 4095 1048575; }
        split() { deep=a; for i in 1 2 3; do deep=$deep/$(printf '%060d' $i); done; mkdir -p $deep; echo deep > $deep/file; }
        long() {
            echo 255 > "$(printf '%0255d' 255)"; ln -s "$(printf '%03000d' 3)" a/far; printf x > "$(printf 'a/\377\376 \303\251')"
            path=.; for i in $(seq 14); do path=$path/$(printf '%0250d' "$i"); done; mkdir -p "$path"; echo deeper > "$path/file"; ln "$path/file" a/short
        }
        xattrs() {
            setfattr -n user.note -v hello a/513; setfattr -n user.binary -v 0x00ff3d0a25 a/4096; setfattr -n trusted.t -v x a/b
            setcap cap_net_raw+ep a/4097; setfattr -n user.long -v "$(printf '%03000d' 7)" a/20000
        }
        sparse() {
            truncate -s 3000000 a/hole; truncate -s 5000000 a/holes
            for at in 0 40 41 200 201 202 700 1220; do printf "data $at" | dd of=a/holes bs=4096 seek=$at conv=notrunc status=none; done
            for at in $(seq 0 60); do printf "$at" | dd of=a/many bs=8192 seek=$at conv=notrunc status=none; done
        }
        seconds() { find . -depth -print0 | xargs -0 touch -h -d '2040-05-06 07:08:09 UTC'; }
        nanoseconds() { find . -depth -print0 | xargs -0 touch -h -d '2040-05-06 07:08:09.123456789 UTC'; touch -d '2001-01-01 00:00:00.000000001 UTC' a/4095; }
        owners() { chown -h 3000000000:4294967294 a/dangling a/4095; }
        old() { touch -d '1950-01-01 00:00:00 UTC' a/20000 a/b; }
        """;
}
