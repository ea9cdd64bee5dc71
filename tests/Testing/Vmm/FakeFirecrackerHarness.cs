using System.Runtime.InteropServices;
using Ravel.Linux.Cgroups;
using Ravel.Testing.Needs;
using Ravel.Vmm;
using Ravel.Vmm.Firecracker;

namespace Ravel.Testing.Vmm;

/// <summary>
/// The Firecracker driver with real processes that are not Firecracker (tests/FakeFirecracker) and, if asked, a jailer that is
/// none: it lays out and starts what the real one would, as the user it is told, without changing root or pid namespace; the fake
/// itself takes its directory for "/".
/// </summary>
public sealed class FakeFirecrackerHarness : ScriptedGuestHarness
{
    private readonly CgroupTree _cgroups;

    /// <param name="isJailed">Start it through the jailer.</param>
    /// <param name="version">What <c>--version</c> says.</param>
    /// <param name="jailerVersion">What the jailer's <c>--version</c> says; null = the same.</param>
    /// <param name="format">Of the snapshots it reads and writes.</param>
    public FakeFirecrackerHarness(bool isJailed, string version = "1.17.0", string? jailerVersion = null, string format = "11.0.0")
    {
        Need.Root();
        // Named and installed as the real ones: the jailer names the jail after the program.
        var firecracker = WriteScript(
            "firecracker",
            $"""
            export DOTNET_ROOT='{DotnetRoot}' FAKE_FIRECRACKER_VERSION='{version}' FAKE_FIRECRACKER_FORMAT='{format}' DOTNET_TieredPGO=0
            export DOTNET_EnableDiagnostics=0
            exec '{Program}' "$@"
            """);
        Options = new VmmOptions
        {
            Driver = "firecracker",
            Firecracker = firecracker,
            Jailer = isJailed ? WriteScript("jailer", $"version={jailerVersion ?? version} program='{Program}'\n{Jailer}") : null,
            JailDirectory = Path.Combine(Files, "jails"),
            CgroupRoot = $"ravel-test-{Environment.ProcessId}",
            // The fake runs no guest: any device that opens will do.
            KvmDevice = "/dev/null",
        };
        // Jails' users go through here to their own.
        File.SetUnixFileMode(Files, (UnixFileMode)0x1c9); // rwx--x--x
        Driver = new FirecrackerDriver(Options);
        _cgroups = CgroupTree.Detect(Options.CgroupRoot);
    }

    public override IVmmDriver Driver { get; }

    public VmmOptions Options { get; }

    public override bool KeepsTheGuestsEnd => false;

    private static string Program => Path.Combine(AppContext.BaseDirectory, "Ravel.FakeFirecracker");

    private static string DotnetRoot => Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", ".."));

    /// <summary>What docs/jailer.md says of the options Ravel uses, the order of its steps included.</summary>
    private const string Jailer =
        """
        if [ "$1" = --version ]; then echo "Jailer v$version"; exit 0; fi
        pidns= netns=
        while [ $# -gt 0 ]; do
            case "$1" in
                --id) id=$2; shift;;
                --exec-file) exec=$2; shift;;
                --uid) uid=$2; shift;;
                --gid) gid=$2; shift;;
                --chroot-base-dir) base=$2; shift;;
                --cgroup-version) case "$2" in 1|2) cgroup=$2;; *) echo "jailer: $2 is an invalid cgroup version specifier." >&2; exit 1;; esac; shift;;
                --parent-cgroup) case "/$2/" in //*|*/./*|*/../*) echo "jailer: The specified parent cgroup is invalid: $2" >&2; exit 1;; esac; parent=$2; shift;;
                # It would make a group of its own below the one it is in, which in version 2 has to be free of processes then.
                --cgroup) echo "jailer: Failed to write to cgroup.subtree_control: Device or resource busy" >&2; exit 1;;
                --netns) netns=$2; shift;;
                # fsize is taken and not set: what runs here instead of Firecracker sizes memory of its own as a file.
                --resource-limit) case "$2" in no-file=*) ulimit -n "${2#*=}";; fsize=[1-9]*) ;; *) echo "jailer: Invalid resource argument: $2" >&2; exit 1;; esac; shift;;
                --new-pid-ns) pidns=1;;
                --) shift; break;;
                *) echo "jailer: Found argument '$1' which wasn't expected" >&2; exit 1;;
            esac
            shift
        done
        : "${id:?}" "${exec:?}" "${uid:?}" "${gid:?}" "${base:?}" "${cgroup:?}" "${parent:?}" "${pidns:?}"
        name=${exec##*/}
        root=$base/$name/$id/root
        mkdir -p "$root"
        if [ -e "$root/$name" ]; then echo "jailer: Failed to mknod: File exists (os error 17)" >&2; exit 1; fi
        if [ "$cgroup" = 2 ]; then
            # Without --cgroup: into the parent if it is there, else nowhere. Version 1 without --cgroup: nowhere.
            unified=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
            if [ -z "$unified" ]; then echo "jailer: Cgroup hierarchy missing: No hierarchy found for this cgroup version." >&2; exit 1; fi
            if [ -d "$unified/$parent" ] && ! echo $$ > "$unified/$parent/cgroup.procs"; then
                echo "jailer: Failed to move process to cgroup: $unified/$parent" >&2; exit 1
            fi
        fi
        cp "$exec" "$root/$name"
        chown "$uid:$gid" "$root"
        cd "$root"
        drop="setpriv --reuid=$uid --regid=$gid --clear-groups"
        # Where that user cannot reach the program (a repository below a private home) it stays root.
        $drop test -x "$program" || drop=
        if [ -n "$netns" ]; then drop="nsenter --net=$netns $drop"; fi
        FAKE_FIRECRACKER_JAILED=1 $drop "./$name" "--id=$id" --start-time-us=1 --start-time-cpu-us=1 "$@" &
        echo $! > "$root/$name.pid"
        exit 0
        """;

    public override IReadOnlyList<string> Leftovers(VmSpec spec) =>
    [
        .. ProcessLeftovers.Of(spec, _cgroups),
        .. Entries(Path.Combine(Options.JailDirectory, "firecracker")).Where(path => Path.GetFileName(path) == spec.Id),
        .. Entries(Path.Combine(Options.JailDirectory, "uids")).Where(path => File.ReadAllText(path) == spec.Id),
    ];

    private static IEnumerable<string> Entries(string directory) =>
        Directory.Exists(directory) ? Directory.EnumerateFileSystemEntries(directory) : [];

    private string WriteScript(string name, string script) => ProgramFile.Write(Path.Combine(Files, name), script);
}
