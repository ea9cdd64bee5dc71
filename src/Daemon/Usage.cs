namespace Ravel.Daemon;

/// <summary>What <c>raveld --help</c> prints, and the exit code of a command line it does not understand.</summary>
internal static class Usage
{
    /// <summary>EX_USAGE of sysexits(3).</summary>
    public const int ExitCode = 64;

    public const string Text = """
        raveld - runs OCI images as microVMs

        Usage:
          raveld run [options]             serve the API and run machines until SIGTERM; machines run on
          raveld server [options]          serve the API of a cluster, and take nodes
          raveld agent [options]           run machines as a node of a cluster
          raveld rootfs build [options]    turn an image into a root file system, without daemon or root
          raveld admin backup FILE                   copy the server's database, while it works
          raveld admin restore [--replace] FILE      put a copy in its place; no server may run
          raveld admin migrate-database --to ADDRESS [--from ADDRESS]   move it to another engine; no server may run
          raveld doctor [--json] [...]     what this host can do, and how to mend what it can't
          raveld version

        Options of run:
          --data DIR             where everything is kept (default /var/lib/ravel)
          --listen ADDRESS:PORT  of the API (default 127.0.0.1:7717, or a free port when that is taken)
          --database ADDRESS     postgres://USER:PASSWORD@HOST/DATABASE (default a SQLite file in the data directory; environment RAVEL_DATABASE,
                                 which unlike an option is not shown to other users of this host)
          --vmm NAME             qemu or firecracker (default qemu; environment RAVEL_VMM)
          --kernel DIR|NAME      the host's kernel: a directory with vmlinuz and modules/, or the name of one beside it (environment RAVEL_KERNEL)
          --init FILE            ravel-init (default: next to raveld)
          --image-limit SIZE     of all images together, e.g. 50G, 0 for none (default half of the disk; environment RAVEL_IMAGE_LIMIT);
                                 above it those go that were not used for longest
          --disk-reserve SIZE    of the disk that machines and images never get (default 1G, at most 5 %; environment RAVEL_DISK_RESERVE)
          --disk-overcommit N    promise N times the disk there is (default 1: nobody can fill it; environment RAVEL_DISK_OVERCOMMIT)
          --registries FILE      mirrors, authorities and credentials of registries
                                 (default /etc/ravel/registries.json, if there; environment RAVEL_REGISTRIES)
          --warm-start on|off    begin machines as copies of a guest that was booted once (default on; environment RAVEL_WARM_START)
          --cpu-overcommit N     CPUs of machines per CPU of the host (default 8; environment RAVEL_CPU_OVERCOMMIT)

        Options of server:
          --data, --listen, --database   as above; several servers share one PostgreSQL
          --hub-listen ADDRESS:PORT      where nodes call (default 0.0.0.0:7718)
          --advertise https://HOST:PORT  where nodes reach that (default: this host's address towards the default route)
          --cluster-key FILE             a secret that seals the cluster's authority in the database, the same for all servers

        Options of agent (those of run too, but --database):
          --join https://HOST:PORT       a server's hub, for a host that has not joined; ravel node join-token prints the command
          --token TOKEN                  the join token (environment RAVEL_JOIN_TOKEN, which other users of this host are not shown)
          --listen ADDRESS:PORT          where servers call (default 0.0.0.0:7719)
          --advertise https://HOST:PORT  where servers reach that (default: this host's address towards the server)
          --region NAME, --zone NAME, --label NAME=VALUE (any number)

        Options of admin: --data and --database (of migrate-database --from), as above.

        --config FILE          settings of run, server, agent and admin (default /etc/ravel/ravel.toml, if there; environment RAVEL_CONFIG)

        Each option has a variable, RAVEL_HUB_LISTEN for --hub-listen, and a name in the file, hub-listen. An option counts more than its
        variable, that more than the file, and that more than the default.

        ravel up and ravel down start and end it for you.
        """;
}
