using System.Diagnostics;
using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;
using Ravel.Linux.Processes;

namespace Ravel.Testing.Images;

/// <summary>
/// A real registry (Debian's docker-registry) on a free loopback port with its own temporary storage. It ends with
/// this object, and also when the process that holds it is killed: its standard input is the lease on its life.
/// </summary>
public sealed partial class RegistryFixture : IAsyncDisposable
{
    /// <summary>The user of <see cref="StartAsync"/> with <c>password: true</c>.</summary>
    public const string UserName = "ravel";

    public const string Password = "correct horse";

    private const string PasswordHash = "$2b$05$puR2l.ejutyzHXxBIxJkEe5v1igrsbvWzberLGQaHZl2wvTXHSLAy";

    private readonly Process _process;
    private readonly string _directory;
    private readonly string? _credentials;
    private readonly string? _networkNamespace;
    private readonly string _address;

    private RegistryFixture(Process process, string directory, int port, string? credentials, string? networkNamespace, string address)
    {
        _address = address;
        _networkNamespace = networkNamespace;
        _process = process;
        _directory = directory;
        _credentials = credentials;
        Port = port;
    }

    public int Port { get; }

    /// <summary>As it stands at the head of an image reference: <c>127.0.0.1:PORT</c>.</summary>
    public string Host => $"{_address}:{Port}";

    /// <param name="password">Asks for Basic credentials, <see cref="UserName"/> and <see cref="Password"/>.</param>
    /// <param name="networkNamespace">Listens on the loopback of this network namespace (ip-netns(8)) instead of the host's.</param>
    /// <param name="certificate">For TLS; without it is plain HTTP.</param>
    /// <param name="tokens">Asks for tokens of this server.</param>
    /// <param name="address">Of that namespace, to listen on.</param>
    public static async Task<RegistryFixture> StartAsync(
        bool password = false, string? networkNamespace = null, X509Certificate2? certificate = null, TokenServer? tokens = null,
        string address = "127.0.0.1", CancellationToken cancellationToken = default)
    {
        var directory = Directory.CreateTempSubdirectory("ravel-registry-").FullName;
        try
        {
            var configuration = Path.Combine(directory, "config.yml");
            await File.WriteAllTextAsync(configuration, Configuration(directory, address, password, certificate is not null, tokens), cancellationToken);
            if (certificate is not null)
            {
                await File.WriteAllTextAsync(Path.Combine(directory, "tls.crt"), certificate.ExportCertificatePem(), cancellationToken);
                using var key = certificate.GetECDsaPrivateKey()!;
                await File.WriteAllTextAsync(Path.Combine(directory, "tls.key"), key.ExportPkcs8PrivateKeyPem(), cancellationToken);
            }
            if (tokens is not null)
                await File.WriteAllTextAsync(Path.Combine(directory, "tokens.pem"), tokens.AuthorityPem, cancellationToken);
            if (password)
                await File.WriteAllTextAsync(Path.Combine(directory, "htpasswd"), $"{UserName}:{PasswordHash}\n", cancellationToken);

            // The shell waits for the end of its input, which comes with the end of the test process however it ends.
            var start = new ProcessStartInfo("/bin/sh")
            {
                ArgumentList = { "-c", "\"$@\" & read -r _; kill $!; wait", "sh" },
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                UseShellExecute = false,
                Environment = { ["OTEL_TRACES_EXPORTER"] = "none" },
            };
            foreach (var word in Inside(networkNamespace, "docker-registry", "serve", configuration))
                start.ArgumentList.Add(word);
            var process = new Process { StartInfo = start };
            var listening = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
            var words = new List<string>();
            void Read(string? line)
            {
                if (line is null)
                    return;
                lock (words)
                {
                    if (words.Count < 100)
                        words.Add(line);
                }
                if (Listening().Match(line) is { Success: true } match)
                    listening.TrySetResult(int.Parse(match.Groups[1].Value));
            }

            process.OutputDataReceived += (_, e) => Read(e.Data);
            process.ErrorDataReceived += (_, e) => Read(e.Data);
            process.EnableRaisingEvents = true;
            process.Exited += (_, _) => listening.TrySetException(
                new CommandException($"docker-registry ended at once: {string.Join(' ', words)}"));
#pragma warning disable RS0030 // It runs beside the test, which CommandRunner is not for.
            process.Start();
#pragma warning restore RS0030
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            var port = await listening.Task.WaitAsync(TimeSpan.FromSeconds(30), cancellationToken);
            var credentials = password ? $"{UserName}:{Password}" : tokens is not null ? $"{TokenServer.UserName}:{TokenServer.Password}" : null;
            return new RegistryFixture(process, directory, port, credentials, networkNamespace, address);
        }
        catch
        {
            Directory.Delete(directory, recursive: true);
            throw;
        }
    }

    /// <summary>Copies an image out of an OCI layout into the registry and returns its reference here.</summary>
    public async Task<string> PushAsync(OciLayout image, string name, CancellationToken cancellationToken = default)
    {
        var reference = $"{Host}/{name}";
        List<string> arguments = ["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"];
        if (_credentials is not null)
            arguments.Add($"--dest-creds={_credentials}");
        arguments.AddRange([image.Tag.Length == 0 ? $"oci:{image.Directory}" : image.ToString(), $"docker://{reference}"]);
        var command = Inside(_networkNamespace, ["skopeo", .. arguments]);
        await CommandRunner.RunCheckedAsync(
            command[0], command[1..], timeout: TimeSpan.FromMinutes(3), cancellationToken: cancellationToken);
        return reference;
    }

    /// <summary>Ends the registry and keeps its storage until disposed, for tests of what needs no network.</summary>
    public async Task StopAsync()
    {
        if (_process.HasExited)
            return;
        _process.StandardInput.Close();
        try
        {
            await _process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(10));
        }
        catch (TimeoutException)
        {
            _process.Kill(entireProcessTree: true);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _process.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private static string[] Inside(string? networkNamespace, params string[] command) =>
        networkNamespace is null ? command : ["nsenter", $"--net=/run/netns/{networkNamespace}", .. command];

    private static string Configuration(string directory, string address, bool password, bool tls, TokenServer? tokens) =>
        $"""
        version: 0.1
        log:
          level: info
          accesslog:
            disabled: true
        storage:
          filesystem:
            rootdirectory: {directory}/storage
          delete:
            enabled: true
        http:
          addr: {address}:0
          secret: one-process-needs-no-real-secret
        {(tls ? $"  tls:\n    certificate: {directory}/tls.crt\n    key: {directory}/tls.key" : "")}
        {(tokens is null ? "" : $"auth:\n  token:\n    realm: {tokens.Realm}\n    service: {TokenServer.Service}\n    issuer: {TokenServer.Issuer}\n    rootcertbundle: {directory}/tokens.pem")}
        {(password ? $"auth:\n  htpasswd:\n    realm: test\n    path: {directory}/htpasswd" : "")}

        """;

    [GeneratedRegex(@"listening on [0-9.]+:(\d+)")]
    private static partial Regex Listening();
}
