namespace Ravel.EndToEnd.Docker;

/// <summary>One image, and how it is run: the same words for podman and for ravel.</summary>
/// <param name="Name">Of the case and of the image's tag.</param>
/// <param name="Config">What umoci makes of the base image's configuration.</param>
/// <param name="Options">Of <c>run</c>.</param>
/// <param name="ExitCode">What the command is told to end with.</param>
/// <param name="Base">The image it is made from: busybox with accounts, or scratch (one static program).</param>
/// <param name="Program">What runs the script: empty = what the image says.</param>
internal sealed record ImageCase(string Name, string[] Config, string[] Options, int ExitCode = 0, string Base = "accounts", string[]? Program = null)
{
    public static IReadOnlyList<ImageCase> All { get; } =
    [
        new("root", ["--config.cmd", "sh"], [], ExitCode: 7),
        new("user-by-name", ["--config.user", "app"], []),
        new("user-by-number", ["--config.user", "1000"], []),
        new("user-without-account", ["--config.user", "4242"], []),
        new("user-and-group", ["--config.user", "app:extra"], [], ExitCode: 255),
        new("uid-and-gid", ["--config.user", "4242:4343"], []),
        new("working-directory", ["--config.workingdir", "/srv/made/here", "--config.user", "app"], []),
        new("environment", ["--config.env", "GREETING=hello world", "--config.env", "EMPTY=", "--config.env", "HOME=/elsewhere"], ["-e", "MORE=a=b", "-e", "EMPTY=full"]),
        new("no-path", ["--clear=config.env"], []),
        new("entrypoint", ["--config.entrypoint", "/bin/busybox", "--config.entrypoint", "sh"], [], Program: []),
        new("entrypoint-replaced", ["--config.entrypoint", "false", "--config.cmd", "x"], ["--entrypoint", "/bin/busybox"], Program: ["sh"]),
        new("overridden", ["--config.user", "app", "--config.workingdir", "/nowhere"], ["--user", "0:2000", "--workdir", "/tmp"]),
        new("scratch", [], [], Base: "scratch", Program: ["/busybox", "sh"]),
        new("scratch-user", ["--config.user", "12:34", "--config.workingdir", "/data"], [], Base: "scratch", Program: ["/busybox", "sh"]),
    ];

    /// <summary>Prints a line FACT=VALUE for each fact there is to compare. Needs nothing but busybox, wherever it is.</summary>
    public string Script => FactsAndExit(ExitCode);

    /// <summary><see cref="Script"/> with its exit code.</summary>
    public static string FactsAndExit(int exitCode) => $$"""
        b=/bin/busybox; [ -x $b ] || b=/busybox
        for a in id env sort grep sed stat readlink hostname cut tr cat ls umask awk; do alias $a="$b $a"; done
        fact() { echo "$1=$2"; }
        fact 'user and groups' "$(id -u):$(id -g) $(id -G)"
        fact 'supplementary groups' "$(awk '/^Groups/ { $1 = ""; print }' /proc/self/status)"
        fact 'working directory' "$(pwd)"
        fact 'working directory: owner' "$(stat -c '%u:%g %a' .)"
        fact 'environment' "$(env | grep -v '^\(HOSTNAME\|HOME\|container\|TERM\|SHLVL\|PWD\|OLDPWD\|_\)=' | sort | tr '\n' ' ')"
        fact 'environment: HOME' "$HOME"
        fact 'environment: container' "$container"
        fact 'environment: TERM' "$TERM"
        fact 'environment: HOSTNAME is the host name' "$([ "$HOSTNAME" = "$(hostname)" ] && echo yes)"
        fact '/etc/hostname is the host name' "$([ "$(cat /etc/hostname)" = "$(hostname)" ] && echo yes)"
        fact '/etc/hosts names localhost' "$(grep -c '^127.0.0.1.*localhost' /etc/hosts | sed 's/[1-9]/yes/')"
        fact '/etc/hosts names the host' "$(grep -c "[[:space:]]$(hostname)" /etc/hosts | sed 's/[1-9]/yes/')"
        fact '/etc/resolv.conf names a server' "$(grep -c ^nameserver /etc/resolv.conf 2>/dev/null | sed 's/[1-9]/yes/')"
        fact 'host name: letters' "$(hostname | tr -d '0-9a-z-')"
        fact 'umask' "$(umask)"
        awk -F '  +' 'NR > 1 { sub(/^Max /, "", $1); print "limit: " $1 "=" $2 " " $3 }' /proc/self/limits
        for d in null zero full random urandom tty; do fact "/dev/$d" "$(stat -c '%F %t:%T %a' /dev/$d)"; done
        fact '/dev/ptmx' "$(stat -L -c '%F %t:%T %a' /dev/ptmx)"
        for d in fd stdin stdout stderr; do fact "/dev/$d" "$(readlink /dev/$d)"; done
        for d in shm mqueue pts; do fact "/dev/$d" "$(grep -c " /dev/$d " /proc/mounts) $(stat -c %a /dev/$d)"; done
        fact '/dev: other devices' "$(ls /dev | grep -v '^\(null\|zero\|full\|random\|urandom\|tty\|ptmx\|fd\|stdin\|stdout\|stderr\|shm\|mqueue\|pts\)$' | grep -c . | sed 's/^[1-9].*/some/')"
        fact '/proc' "$(grep ' /proc ' /proc/mounts | cut -d ' ' -f 3,4)"
        fact '/sys' "$(grep ' /sys ' /proc/mounts | cut -d ' ' -f 3,4)"
        fact '/sys/fs/cgroup' "$(grep ' /sys/fs/cgroup' /proc/mounts | cut -d ' ' -f 3 | sort -u | tr '\n' ' ')"
        fact 'root file system' "$(grep ' / ' /proc/mounts | grep -v rootfs | cut -d ' ' -f 3)"
        fact '/tmp' "$(stat -c '%u:%g %a' /tmp 2>/dev/null)"
        fact '/run' "$(stat -c '%u:%g %a' /run 2>/dev/null)"
        fact 'standard input' "$(readlink /proc/self/fd/0)"
        fact 'signals blocked and ignored' "$(grep '^Sig\(Blk\|Ign\)' /proc/self/status | tr -s '\t\n' '  ')"
        fact 'capabilities in effect' "$(grep '^CapEff' /proc/self/status | cut -f 2)"
        fact 'capabilities that could be had' "$(grep '^CapBnd' /proc/self/status | cut -f 2)"
        fact 'system call filter' "$(grep '^Seccomp:' /proc/self/status | cut -f 2)"
        fact 'process id' "$([ $$ = 1 ] && echo 1 || echo another)"
        fact 'out-of-memory score' "$(cat /proc/self/oom_score_adj)"
        fact 'a child that ends by SIGTERM' "$($b sh -c 'kill -TERM $$'; echo $?)"
        fact 'a child that ends by SIGKILL' "$($b sh -c 'kill -KILL $$'; echo $?)"
        fact 'a command that is not there' "$($b sh -c 'exec no-such-command' 2>/dev/null; echo $?)"
        fact 'time zone' "$($b date +%Z)"
        echo to-stderr >&2
        exit {{exitCode}}
        """;
}
