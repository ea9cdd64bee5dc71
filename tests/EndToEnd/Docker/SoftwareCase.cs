using Ravel.Testing.Images;

namespace Ravel.EndToEnd.Docker;

/// <summary>An image of real software, and what is run of it.</summary>
/// <param name="Recipe">How it is made; the same images are compared with umoci's by the suite of images.</param>
/// <param name="Busybox">Where its busybox is.</param>
/// <param name="Commands">Each is compared byte by byte; an empty one is the image's own.</param>
internal sealed record SoftwareCase(ImageRecipe Recipe, string Busybox, params string[][] Commands)
{
    /// <summary>Prints what a signal said, and ends with 9 on SIGTERM; prints <c>ready</c> first.</summary>
    public string[]? Signalled { get; init; }

    /// <summary>What the image's own command logs when it serves; null where that ends by itself.</summary>
    public string? Serves { get; init; }

    public string Name => Recipe.Name;

    public static IReadOnlyList<SoftwareCase> All { get; } =
    [
        new(TestImages.BusyboxRecipe, "/bin/busybox", [], ["sh", "-c", "exit 300"], ["sh", "-c", "sh -c 'kill -SEGV $$'"], ["cat", "/nowhere"]),
        new(TestImages.NginxRecipe, "/bin/busybox", ["-v"], ["-t"], ["-c", "/nowhere"]) { Serves = "start worker process" },
        new(SoftwareImages.All["redis"], "/bin/busybox", ["redis-server", "--version"], ["redis-cli", "ping"]) { Serves = "Ready to accept connections" },
        new(SoftwareImages.All["postgres"], "/bin/busybox", ["postgres", "--version"], ["postgres"], ["sh", "-c", "psql -h 127.0.0.1; echo $? $PGDATA"]),
        new(SoftwareImages.All["python"], "/bin/busybox", [], ["python3", "-c", Python], ["python3", "-c", "raise SystemExit('said')"])
        {
            Signalled = ["python3", "-uc", "import signal, sys\nfor s in (signal.SIGUSR1, signal.SIGHUP): signal.signal(s, lambda n, f: print('got', signal.Signals(n).name[3:]))\nsignal.signal(signal.SIGTERM, lambda n, f: sys.exit(9))\nprint('ready')\nwhile True: signal.pause()"],
        },
        new(SoftwareImages.All["ruby"], "/bin/busybox", [], ["--disable-gems", "-e", "p Process.uid, Process.groups, Dir.pwd, Process.getrlimit(:STACK), ENV['LANG'], STDIN.read, $$ > 0; exit 77"], ["-e", "raise 'words'"])
        {
            Signalled = ["--disable-gems", "-e", "$stdout.sync = true; trap('USR1') { puts 'got USR1' }; trap('TERM') { exit 9 }; puts 'ready'; sleep 0.1 while true"],
        },
        new(SoftwareImages.All["perl-in-layers"], "/bin/busybox", ["perl", "-e", "print qq($< $>\\n), sort { $a cmp $b } map { qq($_=$ENV{$_}\\n) } grep { /PATH|LANG/ } keys %ENV; printf STDERR qq(%s\\n), -t STDIN ? 1 : 0; exit 200"], ["perl", "-e", "die qq(words\\n)"])
        {
            Signalled = ["perl", "-e", "$| = 1; $SIG{USR1} = sub { print qq(got USR1\\n) }; $SIG{TERM} = sub { exit 9 }; print qq(ready\\n); sleep 1 while 1"],
        },
        new(SoftwareImages.All["sqlite"], "/bin/busybox", [], [":memory:", "select 6 * 7; select * from nothing"]),
        new(SoftwareImages.All["lua"], "/bin/busybox", [], ["lua5.4", "-e", "print(os.getenv('HOME') ~= nil, os.getenv('PATH'), 1 << 40) os.exit(3)"], ["lua5.4", "-e", "error('words')"]),
        new(SoftwareImages.All["capabilities"], "/bin/busybox", [], ["awk", "/^(Uid|Gid|Groups|NoNewPrivs)/", "/proc/self/status"], ["busybox", "cat", "/etc/shadow"]),
        new(SoftwareImages.All["debian"], "/bin/busybox", [], ["bash", "-lc", Debian], ["sh", "-c", "ls /nowhere"], ["cat", "/etc/passwd", "/etc/debian_version"])
        {
            Signalled = ["bash", "-c", "trap 'echo got USR1' USR1; trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"],
        },
        new(SoftwareImages.All["scratch"], "/busybox", ["/busybox", "false"], ["/busybox", "ls", "/proc/self/fd"]),
    ];

    private const string Python =
        """
        import os, resource, signal, sys, socket
        print(os.getresuid(), os.getresgid(), os.getcwd(), os.stat('.').st_mode, sys.stdin.read())
        print(sorted(k for k in os.environ if k not in ('TERM', 'container')), resource.getrlimit(resource.RLIMIT_STACK), resource.getrlimit(resource.RLIMIT_CORE))
        print(signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, []), socket.gethostbyname('localhost'), socket.gethostname() == os.environ['HOSTNAME'])
        print(os.isatty(0), os.umask(0), open('/proc/self/comm').read(), os.path.exists('/dev/fd/1'), os.WEXITSTATUS(os.system('exit 5')), os.getpriority(os.PRIO_PROCESS, 0))
        print('words', file=sys.stderr)
        sys.exit(42)
        """;

    private const string Debian =
        """
        id; pwd; echo $FROM_PROFILE $DEBIAN_FRONTEND $SHLVL; ulimit -a | grep -v -e 'open files' -e processes -e pending -e 'locked memory'; stat -c '%n %U:%G %a %F' / /etc /root /tmp /var/tmp /proc /dev
        getent passwd daemon; [ "$(hostname)" = "$(cat /etc/hostname)" ] && echo same; grep -c . /etc/hosts | tr -d '0-9'; tty
        prlimit --core --stack --raw --noheadings; ls -l /proc/self/fd/0 | sed 's/.*-> //'; df -t tmpfs --output=target | grep -e shm; cat <(echo substituted)
        (kill -TERM $BASHPID); echo $?; timeout 0.1 sleep 9; echo $?; sleep 5 & kill $!; wait $!; echo $?; chown 5:6 /tmp && stat -c %u:%g /tmp; mkdir /new && chmod 2755 /new && stat -c %a /new
        exit 44
        """;
}
