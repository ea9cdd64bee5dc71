using Ravel.Linux.Processes;

namespace Ravel.Testing.Images;

/// <summary>
/// Images of real software, each with something of its own that images have: who packed them, how many layers, which
/// attributes. All are compared with what umoci makes of them; those of a program are complete, and run too, with busybox beside it.
/// </summary>
public static class SoftwareImages
{
    private static readonly IReadOnlyList<string> Shell = ["--config.cmd", "sh"];

    /// <summary>What a Containerfile does over time: replace, rename, remove, make anew, change type and attributes.</summary>
    private static readonly IReadOnlyList<string> PerlLayers =
    [
        "mkdir -p opt/app/lib; echo 'print 1' > opt/app/main.pl; cp -a usr/share/perl/5.36.0/File opt/app/lib/pod",
        "rm -rf opt/app/lib/pod; mkdir opt/app/lib/pod; echo new > opt/app/lib/pod/perl.pod",
        "rm -rf usr/share/doc usr/share/lintian; chmod 700 opt/app; chown 1000:1000 opt/app/main.pl; touch -d @0 opt/app/lib",
        "mv opt/app opt/old; mkdir opt/app; ln -s ../old/main.pl opt/app/main.pl",
        "rm opt/app/main.pl; mkdir opt/app/main.pl; echo file > opt/app/main.pl/was-a-link; rm -rf usr/share/perl/5.36.0/unicore; echo file > usr/share/perl/5.36.0/unicore",
        "rm opt/app/main.pl/was-a-link; mkdir -p usr/share/doc/again; setcap cap_net_bind_service+ep usr/bin/perl",
        "rm -rf opt; mkdir -p opt/last",
    ];

    /// <summary>Every image, by the name a test shows.</summary>
    public static IReadOnlyDictionary<string, ImageRecipe> All { get; } = new[]
    {
        TestImages.BusyboxRecipe,
        TestImages.NginxRecipe,

        Umoci(
            "redis",
            [
                "busybox-static", "redis-server", "redis-tools", "libc6", "libatomic1", "libcap2", "libgcc-s1", "libgcrypt20", "libgpg-error0", "libhiredis0.14", "libjemalloc2",
                "liblua5.1-0", "liblz4-1", "liblzf1", "liblzma5", "libssl3", "libstdc++6", "libsystemd0", "libzstd1",
            ],
            """
            printf 'root:x:0:0::/root:/bin/sh\nredis:x:101:102::/var/lib/redis:/bin/false\n' > etc/passwd; printf 'redis:x:102:\n' > etc/group
            mkdir -p var/lib/redis run/redis && chown -R 101:102 var/lib/redis var/log/redis run/redis && chmod 2750 var/log/redis
            chown root:102 etc/redis/redis.conf && chmod 640 etc/redis/redis.conf
            """,
            config: ["--config.user", "redis", "--config.workingdir", "/var/lib/redis", "--config.cmd", "redis-server", "--config.exposedports", "6379/tcp"]),

        // A data directory as initdb leaves it: closed, with links out of it and sockets' places. What runs makes one of its own, in /data.
        Umoci(
            "postgres",
            [
                "busybox-static", "postgresql-15", "postgresql-client-15", "tzdata", "libaudit1", "libc6", "libcap-ng0", "libcap2", "libcom-err2", "libffi8", "libgcc-s1",
                "libgcrypt20", "libgmp10", "libgnutls30", "libgpg-error0", "libgssapi-krb5-2", "libhogweed6", "libicu72", "libidn2-0", "libk5crypto3", "libkeyutils1",
                "libkrb5-3", "libkrb5support0", "libldap-2.5-0", "liblz4-1", "liblzma5", "libnettle8", "libp11-kit0", "libpam0g", "libpcre2-8-0", "libpq5", "libreadline8",
                "libsasl2-2", "libselinux1", "libssl3", "libstdc++6", "libsystemd0", "libtasn1-6", "libtinfo6", "libunistring2", "libuuid1", "libxml2", "libxslt1.1", "libzstd1",
                "zlib1g",
            ],
            """
            rm -rf usr/share/locale usr/share/doc usr/share/postgresql/15/man usr/lib/postgresql/15/lib/bitcode
            mkdir -p -m 700 var/lib/postgresql/15/main/base/1 var/lib/postgresql/15/main/pg_wal
            head -c 16777216 /dev/zero > var/lib/postgresql/15/main/pg_wal/000000010000000000000001
            for i in $(seq 200); do head -c 8192 /dev/zero > var/lib/postgresql/15/main/base/1/$((16384 + i)); done
            ln -s /etc/postgresql/15/main var/lib/postgresql/15/main/conf
            mkdir -p -m 3775 run/postgresql && chown -R 103:106 var/lib/postgresql run/postgresql
            printf 'root:x:0:0::/root:/bin/sh\npostgres:x:103:106::/var/lib/postgresql:/bin/sh\n' > etc/passwd; printf 'postgres:x:106:\n' > etc/group
            ln -s busybox bin/sh; ln -s ../run var/run; mkdir -p usr/local/bin tmp; chmod 1777 tmp
            cat > usr/local/bin/serve <<'SCRIPT'
            #!/bin/sh -e
            # What the official image does: a cluster where there is none, and the server as its own user.
            mkdir -p /data/main && chown postgres:postgres /data/main && chmod 700 /data/main
            [ -s /data/main/PG_VERSION ] || busybox su postgres -c 'initdb --no-locale --encoding=UTF8 --data-checksums --auth=trust /data/main'
            exec busybox su postgres -c "exec postgres -D /data/main -c listen_addresses='*' -c hba_file=/etc/hba.conf -c jit=off"
            SCRIPT
            chmod 755 usr/local/bin/serve
            printf 'local all all trust\nhost all all all trust\n' > etc/hba.conf
            """,
            config:
            [
                "--config.cmd", "serve", "--config.env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/lib/postgresql/15/bin", "--config.env", "PGDATA=/data/main",
                "--config.stopsignal", "SIGINT", "--config.volume", "/data", "--config.exposedports", "5432/tcp",
            ]),

        Umoci(
            "python",
            ["busybox-static", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libexpat1", "libc6", "libbz2-1.0", "libffi8", "liblzma5", "libssl3", "zlib1g"],
            "ln -s python3.11 usr/bin/python3; ln usr/bin/python3.11 usr/bin/python",
            config: ["--config.cmd", "python3", "--config.workingdir", "/usr/src/app"]),

        Umoci(
            "ruby",
            ["busybox-static", "ruby3.1", "libruby3.1", "libyaml-0-2", "libgmp10", "libc6", "libcrypt1", "zlib1g"],
            "ln -s ruby3.1 usr/bin/ruby",
            config: ["--config.entrypoint", "ruby", "--config.cmd", "--version", "--config.user", "1000:1000", "--config.env", "LANG=C.UTF-8"]),

        Umoci(
            "sqlite",
            ["busybox-static", "sqlite3", "libsqlite3-0", "libreadline8", "libtinfo6", "libc6", "zlib1g"],
            "",
            config: ["--config.entrypoint", "sqlite3", "--config.cmd", ":memory:", "--config.cmd", "select sqlite_version();"]),

        Umoci("lua", ["busybox-static", "lua5.4", "libreadline8", "libtinfo6", "libc6"], "mkdir home", config: ["--config.cmd", "lua5.4", "--config.user", "12:34"]),

        // What others build on: accounts, two shells, the GNU tools.
        Umoci(
            "debian",
            [
                "base-files", "base-passwd", "bash", "dash", "coreutils", "grep", "sed", "mawk", "hostname", "libc-bin", "util-linux", "busybox-static", "libacl1",
                "libattr1", "libblkid1", "libc6", "libcap-ng0", "libgmp10", "libmount1", "libpcre2-8-0", "libselinux1", "libsmartcols1", "libtinfo6", "libuuid1",
            ],
            """
            cp usr/share/base-passwd/passwd.master etc/passwd; cp usr/share/base-passwd/group.master etc/group
            ln -sf dash bin/sh; ln -s mawk usr/bin/awk; mkdir -p root var/tmp tmp; chmod 1777 tmp var/tmp
            echo 'export FROM_PROFILE=1' > etc/profile.d/test.sh
            """,
            config: ["--config.cmd", "bash", "--config.env", "DEBIAN_FRONTEND=noninteractive"]),

        // FROM scratch, one static binary, and nothing that describes the root.
        Packed("scratch", ["busybox-static"], "mv bin/busybox .; rm -rf bin usr lib etc", (root, image, scratch, cancellation) =>
            Buildah.CommitAsync(image, scratch, root, [], compress: true, cancellation)),

        Umoci(
            "capabilities", ["busybox-static", "iputils-ping", "libcap2-bin", "libcap2", "libc6", "libidn2-0", "libunistring2"],
            """
            mkdir -p usr/bin
            # Of those that a container engine leaves to its containers.
            cp bin/busybox usr/bin/awk && setcap cap_chown,cap_net_bind_service+ep usr/bin/awk
            bin=$(find . -name ping -type f | head -n 1)
            setcap cap_net_raw+ep "$bin"
            cp "$bin" usr/bin/ping-all && setcap cap_net_raw,cap_net_admin,cap_sys_admin,cap_bpf=eip usr/bin/ping-all
            cp "$bin" usr/bin/ping-user && setcap -n 1000 cap_net_bind_service=ep usr/bin/ping-user
            ln usr/bin/ping-all usr/bin/ping-linked; chown 0:107 usr/bin/ping-user && chmod 2755 usr/bin/ping-user && setcap cap_chown+p usr/bin/ping-user
            """,
            config: ["--config.user", "1000", "--config.cmd", "awk", "--config.cmd", "/^Cap(Prm|Eff)/", "--config.cmd", "/proc/self/status"]),

        Umoci(
            "acls", ["nginx-common", "busybox-static"],
            """
            mkdir -p srv/git/shared/objects
            setfacl -m u:1000:rwx,g:2000:rx,m::rwx srv/git && setfacl -d -m u:1000:rwx,g:2000:rx,o::- srv/git
            for i in $(seq 300); do echo "$i" > srv/git/shared/objects/$i && setfacl -m u:$((1000 + i)):rw srv/git/shared/objects/$i; done
            for i in $(seq 100); do echo "$i" > srv/git/$i; done
            setfacl -R -m u:33:rX usr/share/nginx etc/nginx
            """),

        Umoci("attributes", ["busybox-static"], Attributes, Steps(
            """
            umoci insert --image "$image" --opaque . /a/b
            echo new > new && umoci insert --image "$image" new /a/listed
            umoci insert --image "$image" --whiteout /a/linked
            umoci insert --image "$image" . '/sp ace'
            umoci insert --image "$image" --whiteout /dev
            """)),

        Packed("perl-in-layers", ["busybox-static", "perl-base", "libc6", "libcrypt1"], "mkdir -p usr/share/perl && cp -a usr/lib/x86_64-linux-gnu/perl-base usr/share/perl/5.36.0", (root, image, scratch, cancellation) =>
            Buildah.CommitAsync(image, scratch, root, PerlLayers, compress: true, cancellation)),

        Packed("plain-tar", ["redis-tools", "libatomic1"], "", (root, image, scratch, cancellation) =>
            Buildah.CommitAsync(image, scratch, root, ["mkdir -p etc; echo maxmemory 1gb > etc/redis.conf; rm -rf usr/share/doc"], compress: false, cancellation)),

        // Tar layers as written, so that links lead from layer to layer and names are what they are.
        Umoci("names-and-links", ["busybox-static"], "", Steps(
            """
            mkdir a && cd a
            for byte in 001 012 041 134 177 200 300 303 355 376 377; do printf "$byte" > "$(printf "name-\\$byte")"; done
            long=$(printf '%0255d' 0); echo long > "$long"; mkdir -p "$(printf '\303\050')"; ln -s "$(printf '\377/\376')" "$(printf 'to-\377')"
            printf shared > shared; touch -d '2001-02-03 04:05:06.789012345 UTC' shared; setfattr -n user.key -v value shared
            deep=.; for i in $(seq 14); do deep=$deep/$(printf '%0250d' "$i"); done; mkdir -p "$deep"; echo deep > "$deep/file"
            cd .. && tar --format=pax --xattrs -cf 1.tar -C a . && umoci raw add-layer --image "$image" 1.tar
            # A link whose target is in the layer below, twice, and then the first name taken away.
            mkdir b && cp -a a/shared b/ && cd b && ln shared first && mkdir d && ln shared d/second
            cd .. && tar --format=pax -cf 2.tar -C b shared first d && tar --delete -f 2.tar shared && umoci raw add-layer --image "$image" 2.tar
            umoci insert --image "$image" --whiteout /shared
            """)),

        Umoci("zstd", ["libpython3.11-stdlib", "busybox-static"], "mkdir -p etc", Steps(
            """
            echo more > more; umoci insert --image "$image" more /etc/more
            umoci tag --image "$image" gzip
            skopeo copy --quiet --insecure-policy --dest-compress-format zstd "oci:$layout:gzip" "oci:$layout:latest"
            """)),

        // One index for two machines; the other one's image is different in everything.
        Umoci("two-machines", ["busybox-static", "redis-tools"], "", Steps(
            """
            umoci config --image "$image" --architecture amd64
            umoci tag --image "$image" amd64
            echo arm > arm && umoci new --image "$layout:arm64" && umoci insert --image "$layout:arm64" arm /arm
            umoci config --image "$layout:arm64" --architecture arm64
            buildah() { command buildah --root "$scratch/store" --runroot "$scratch/run" --storage-driver vfs "$@"; }
            buildah manifest create both >/dev/null
            for machine in arm64 amd64; do buildah manifest add --arch $machine both "oci:$layout:$machine" >/dev/null; done
            buildah manifest push --quiet --all both "oci:$layout:latest" >/dev/null
            """)),

        LargeImages.ManyLayers,
        LargeImages.OneLayer,
    }.ToDictionary(recipe => recipe.Name);

    /// <summary>The tag of the same image in the form umoci reads: it knows neither zstd nor how to choose from an index.</summary>
    public static string UmociTagOf(string name) => name switch
    {
        "zstd" => "gzip",
        "two-machines" => "amd64",
        _ => "latest",
    };

    private const string Attributes =
        """
        mkdir -p a/b dev 'sp ace'
        cp bin/busybox a/capable && setcap cap_net_bind_service=ep a/capable
        echo text > a/listed && setfacl -m u:1000:rw,g:50:r a/listed && setfacl -d -m u:1000:rwx a/b
        echo x > a/owned && chown 1234567:76543 a/owned && chmod 6755 a/owned && chmod 1777 a/b
        setfattr -n user.note -v hello a/owned; setfattr -n trusted.note -v there a/owned
        setfattr -n user.empty a/owned; setfattr -n user.long -v "$(printf '%03000d' 7)" a/owned; setfattr -n user.dir -v d a/b
        ln a/owned a/linked; ln a/owned 'sp ace/linked'; ln -s ../a/owned a/b/symbolic; ln a/b/symbolic a/b/both
        mknod dev/null c 1 3; mknod dev/disk b 259 1234; mknod dev/large c 4095 1048575; mkfifo a/pipe; ln dev/null dev/nil
        : > a/empty; touch -d '1969-12-31 23:59:58.5 UTC' a/old; touch -d '2100-01-01 00:00:00.123456789 UTC' a/new
        touch -d '1910-05-06 07:08:09.000000001 UTC' a/older
        truncate -s 5M a/sparse; printf end >> a/sparse
        printf x > "$(printf 'a/\377\376')"
        i=0; while [ $i -lt 3000 ]; do : > a/b/file-with-a-name-$i; i=$((i+1)); done
        """;

    private static ImageRecipe Umoci(
        string name, IReadOnlyList<string> packages, string arrange, Func<OciLayout, string, CancellationToken, Task>? layers = null,
        IReadOnlyList<string>? config = null) =>
        new(name, Revision: 3, packages, Arrange(arrange), config ?? Shell, layers);

    private static ImageRecipe Packed(
        string name, IReadOnlyList<string> packages, string arrange, Func<string, OciLayout, string, CancellationToken, Task> pack) =>
        new(name, Revision: 2, packages, Arrange(arrange), Config: []) { Pack = pack };

    private static Func<string, CancellationToken, Task> Arrange(string script) =>
        (root, cancellation) => CommandRunner.RunCheckedAsync(
            "/bin/sh", ["-ec", $"cd \"$1\"\n{script}", "sh", root], timeout: TimeSpan.FromMinutes(2), cancellationToken: cancellation);

    /// <summary>Further layers by a script that knows <c>$image</c>, its <c>$layout</c>, and stands in <c>$scratch</c>.</summary>
    private static Func<OciLayout, string, CancellationToken, Task> Steps(string script) =>
        (image, scratch, cancellation) => CommandRunner.RunCheckedAsync(
            "/bin/sh",
            ["-ec", $"layout=$1 image=$1:$2 scratch=$3\nmkdir \"$scratch/in\" && cd \"$scratch/in\"\n{script}", "sh", image.Directory, image.Tag, scratch],
            timeout: TimeSpan.FromMinutes(5), cancellationToken: cancellation);
}
