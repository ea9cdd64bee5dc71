using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;

namespace Ravel.Images;

/// <summary>
/// The operator's settings of single registries: a JSON file with <c>registries</c>, an object from host or host:port to
/// <c>mirrors</c>, <c>http</c> and <c>ca</c>, and with <c>docker_config</c>. What it says wrong is refused, never passed over:
/// a misspelt <c>ca</c> should not be found out by a pull.
/// </summary>
public static class RegistryFile
{
    public const string DefaultPath = "/etc/ravel/registries.json";

    /// <summary>Environment variable that names another file.</summary>
    public const string Variable = "RAVEL_REGISTRIES";

    private const int MaxBytes = 1024 * 1024;
    private const int MaxCertificates = 1000;

    /// <param name="path">Named by the operator, who wants it read; null for the default one, which need not be there.</param>
    /// <exception cref="ImageException"><c>invalid-request</c>: cannot be read or is wrong, naming file and entry.</exception>
    public static RegistryOptions Load(string? path)
    {
        if (string.IsNullOrEmpty(path) && !File.Exists(DefaultPath))
            return new RegistryOptions();
        path = string.IsNullOrEmpty(path) ? DefaultPath : path;
        byte[] content;
        try
        {
            using var file = File.OpenRead(path);
            if (file.Length > MaxBytes)
                throw Wrong(path, $"it is over {MaxBytes} bytes");
            content = new byte[file.Length];
            file.ReadExactly(content);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException("invalid-request", $"{path} cannot be read: {e.Message}", e);
        }
        return Parse(content, path);
    }

    internal static RegistryOptions Parse(ReadOnlyMemory<byte> content, string path)
    {
        try
        {
            using var document = JsonDocument.Parse(
                content, new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, AllowDuplicateProperties = false, MaxDepth = 8 });
            return Read(document.RootElement, path);
        }
        catch (JsonException e)
        {
            throw new ImageException("invalid-request", $"{path} is not JSON: {e.Message}", e);
        }
    }

    private static RegistryOptions Read(JsonElement root, string path)
    {
        var plain = new List<string>();
        var tls = new List<string>();
        var mirrors = new Dictionary<string, IReadOnlyList<RegistryMirror>>(StringComparer.OrdinalIgnoreCase);
        var authorities = new Dictionary<string, X509Certificate2Collection>(StringComparer.OrdinalIgnoreCase);
        string? dockerConfig = null;
        foreach (var (name, value) in Properties(root, path, "the file"))
        {
            if (name == "docker_config")
            {
                dockerConfig = Text(value, path, name);
                continue;
            }
            if (name != "registries")
                throw Wrong(path, $"\"{name}\" is not a setting; there are registries and docker_config");
            foreach (var (host, settings) in Properties(value, path, name))
            {
                if (!ImageReference.IsRegistryName(host))
                    throw Wrong(path, $"\"{host}\" is not a host name or address with an optional port");
                foreach (var (setting, detail) in Properties(settings, path, host))
                {
                    switch (setting)
                    {
                        case "http" when detail.ValueKind is JsonValueKind.True or JsonValueKind.False:
                            (detail.GetBoolean() ? plain : tls).Add(host);
                            break;
                        case "http":
                            throw Wrong(path, $"http of {host} has to be true or false");
                        case "ca":
                            authorities[host] = Certificates(Text(detail, path, $"ca of {host}"), path, host);
                            break;
                        case "mirrors":
                            mirrors[host] = Mirrors(detail, path, host);
                            break;
                        default:
                            throw Wrong(path, $"\"{setting}\" of {host} is not a setting; there are mirrors, http and ca");
                    }
                }
            }
        }
        return new RegistryOptions
        {
            PlainHttpRegistries = plain,
            TlsRegistries = tls,
            Mirrors = mirrors,
            Authorities = authorities,
            DockerConfigFile = dockerConfig,
            SettingsFile = path,
        };
    }

    private static List<RegistryMirror> Mirrors(JsonElement list, string path, string host)
    {
        if (list.ValueKind != JsonValueKind.Array)
            throw Wrong(path, $"mirrors of {host} have to be a list");
        return
        [
            .. list.EnumerateArray().Select(item => RegistryMirror.Parse(Text(item, path, $"a mirror of {host}"))
                ?? throw Wrong(path, $"a mirror of {host} has to be HOST[:PORT][/PREFIX], not {item.GetRawText()}")),
        ];
    }

    /// <summary>Certificates of a PEM file, or of all <c>.crt</c> and <c>.pem</c> files of a directory, as Docker's certs.d has them.</summary>
    private static X509Certificate2Collection Certificates(string source, string path, string host)
    {
        var all = new X509Certificate2Collection();
        try
        {
            var files = Directory.Exists(source)
                ? Directory.GetFiles(source).Where(file => Path.GetExtension(file) is ".crt" or ".pem").Order(StringComparer.Ordinal)
                : (IEnumerable<string>)[source];
            foreach (var file in files)
                all.ImportFromPemFile(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new ImageException("invalid-request", $"{path}: ca of {host} cannot be read from {source}: {e.Message}", e);
        }
        return all.Count is > 0 and <= MaxCertificates ? all : throw Wrong(path, $"ca of {host}: {source} has no certificate in PEM form");
    }

    private static List<(string Name, JsonElement Value)> Properties(JsonElement element, string path, string what) =>
        element.ValueKind == JsonValueKind.Object
            ? [.. element.EnumerateObject().Select(property => (property.Name, property.Value))]
            : throw Wrong(path, $"{what} has to be a JSON object");

    private static string Text(JsonElement value, string path, string what) =>
        value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 } text
            ? text
            : throw Wrong(path, $"{what} has to be a text");

    private static ImageException Wrong(string path, string why) => new("invalid-request", $"{path}: {why}");
}
