namespace Ravel.EndToEnd.Docker;

/// <summary>Where ravel does something else than podman, and why. docs/docker.md shows the table; a test holds both together.</summary>
internal static class KnownDifferences
{
    /// <summary>By the fact of <see cref="ImageCase.Script"/>.</summary>
    public static IReadOnlyDictionary<string, string> Why { get; } = new SortedDictionary<string, string>(StringComparer.Ordinal)
    {
        ["/dev: other devices"] = "`/dev` is the machine's own devtmpfs: its disks and terminals are there, for root",
        ["/sys"] = "writable: the kernel is the machine's own",
        ["/sys/fs/cgroup"] = "always version 2, whatever the host has, and writable",
        ["/tmp"] = "made with mode 1777 where the image has none: programs expect it",
        ["capabilities in effect"] = "root has all of them: what it could break is its own machine",
        ["capabilities that could be had"] = "the same",
        ["/etc/resolv.conf names a server"] = "podman ran without a network; Ravel's names the node's own",
        ["environment: HOME"] = "`/` for a user without an account, as with docker; podman takes the working directory",
        ["environment: TERM"] = "podman sets TERM always, Ravel (as docker) with a terminal only",
        ["environment: container"] = "podman's own variable",
        ["exit code: a user that is not there"] = "125, as docker does; podman's is 126",
        ["limit: open files"] = "1,048,576, as docker does; podman's comes from its host",
        ["limit: pending signals"] = "follows the memory of the machine; podman's comes from its host",
        ["limit: processes"] = "none, as docker does; podman's comes from its host",
        ["process id"] = "the workload is a child of ravel-init: default actions of signals hold for it, which PID 1 has not",
        ["root file system"] = "an overlay over the read-only image",
        ["working directory: owner"] = "one that was missing is root's, as with docker; podman gives it to the user",
        ["supplementary groups"] = "the own group is always one of them, as with docker; podman leaves root's out where the image names no user",
        ["system call filter"] = "none: the wall is the virtual machine",
    };

    public static string Table()
    {
        var text = new System.Text.StringBuilder("| what | why it differs |\n|---|---|\n");
        foreach (var (fact, why) in Why)
            text.Append($"| {fact} | {why} |\n");
        return text.ToString();
    }
}
