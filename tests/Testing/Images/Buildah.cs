using Ravel.Linux.Processes;

namespace Ravel.Testing.Images;

/// <summary>
/// Images committed by buildah from changes to a tree, as a Containerfile's steps are: each script is one layer, with the
/// whiteouts that buildah makes of what it took away. Needs root, but no container runtime: nothing of the image runs.
/// </summary>
public static class Buildah
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <param name="image">The layout to write.</param>
    /// <param name="scratch">Empty; holds buildah's store meanwhile.</param>
    /// <param name="root">Copied in as the first layer.</param>
    /// <param name="scripts">Run by <c>sh -ec</c> in the image's root, one layer each.</param>
    /// <param name="compress">Whether layers are gzip, or plain tar.</param>
    public static async Task CommitAsync(
        OciLayout image, string scratch, string root, IReadOnlyList<string> scripts, bool compress, CancellationToken cancellationToken) =>
        await CommandRunner.RunCheckedAsync(
            "/bin/sh",
            [
                "-ec",
                """
                image=$1 scratch=$2 root=$3 compression=$4
                shift 4
                buildah() { command buildah --root "$scratch/store" --runroot "$scratch/run" --storage-driver vfs "$@"; }
                container=$(buildah from scratch)
                mounted=$(buildah mount "$container")
                cp -a "$root/." "$mounted/"
                layer=0
                for script; do
                    buildah umount "$container" >/dev/null
                    buildah commit --quiet --rm $compression "$container" "layer-$layer" >/dev/null
                    container=$(buildah from "layer-$layer")
                    mounted=$(buildah mount "$container")
                    (cd "$mounted" && sh -ec "$script")
                    layer=$((layer + 1))
                done
                buildah umount "$container" >/dev/null
                buildah config --cmd sh "$container"
                buildah commit --quiet --rm $compression "$container" "oci:$image" >/dev/null
                """,
                "sh", $"{image.Directory}:{image.Tag}", scratch, root, compress ? "--disable-compression=false" : "--disable-compression", .. scripts,
            ],
            timeout: Patience, cancellationToken: cancellationToken);
}
