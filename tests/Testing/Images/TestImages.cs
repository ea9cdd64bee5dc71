using Ravel.Linux.Processes;

namespace Ravel.Testing.Images;

/// <summary>The images of real software that tests, the demo and the benches run.</summary>
public static class TestImages
{
    /// <summary>Debian's static busybox with a link for each applet; runs <c>sh</c>, serves with <c>httpd</c>.</summary>
    public static ImageRecipe BusyboxRecipe { get; } = new(
        "busybox",
        Revision: 1,
        ["busybox-static"],
        ArrangeBusyboxAsync,
        ["--config.cmd", "sh", "--config.env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);

    /// <summary>Debian's nginx with its libraries and busybox: answers on port 80 with <see cref="NginxPage"/>, logs to its output.</summary>
    public static ImageRecipe NginxRecipe { get; } = new(
        "nginx",
        Revision: 2,
        ["busybox-static", "nginx", "nginx-common", "libc6", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"],
        ArrangeNginxAsync,
        [
            "--config.entrypoint", "nginx", "--config.cmd", "-g", "--config.cmd", "daemon off;",
            "--config.env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "--config.exposedports", "80/tcp", "--config.stopsignal", "SIGQUIT",
        ]);

    /// <summary>What the nginx image answers to <c>GET /</c>.</summary>
    public const string NginxPage = "<!doctype html>\n<title>Ravel</title>\n<h1>Hello from a microVM</h1>\n";

    public static Task<OciLayout> BusyboxAsync(CancellationToken cancellationToken = default) =>
        BusyboxRecipe.BuildAsync(cancellationToken);

    public static Task<OciLayout> NginxAsync(CancellationToken cancellationToken = default) =>
        NginxRecipe.BuildAsync(cancellationToken);

    private static async Task ArrangeBusyboxAsync(string root, CancellationToken cancellationToken)
    {
        var applets = await CommandRunner.RunCheckedAsync($"{root}/bin/busybox", ["--list"], cancellationToken: cancellationToken);
        foreach (var applet in applets.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var link = $"{root}/bin/{applet}";
            if (!File.Exists(link))
                File.CreateSymbolicLink(link, "busybox");
        }
        foreach (var directory in (string[])["dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin", "var/www"])
            Directory.CreateDirectory($"{root}/{directory}");
        File.SetUnixFileMode($"{root}/tmp", (UnixFileMode)Convert.ToInt32("1777", 8));
        await File.WriteAllTextAsync(
            $"{root}/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n",
            cancellationToken);
        await File.WriteAllTextAsync(
            $"{root}/etc/group", "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n", cancellationToken);
    }

    private static async Task ArrangeNginxAsync(string root, CancellationToken cancellationToken)
    {
        await ArrangeBusyboxAsync(root, cancellationToken);
        Directory.CreateDirectory($"{root}/var/www/html");
        await File.WriteAllTextAsync($"{root}/var/www/html/index.html", NginxPage, cancellationToken);
        await File.WriteAllTextAsync(
            $"{root}/etc/nginx/nginx.conf",
            """
            user www-data;
            worker_processes 1;
            pid /run/nginx.pid;
            error_log /dev/stderr notice;
            events { worker_connections 512; }
            http {
                include /etc/nginx/mime.types;
                default_type application/octet-stream;
                access_log /dev/stdout;
                server {
                    listen 80 default_server;
                    listen [::]:80 default_server;
                    root /var/www/html;
                    index index.html;
                }
            }

            """,
            cancellationToken);
        // The compiled-in log path is opened before the configuration is read.
        File.Delete($"{root}/var/log/nginx/error.log");
        File.CreateSymbolicLink($"{root}/var/log/nginx/error.log", "/dev/stderr");
    }
}
