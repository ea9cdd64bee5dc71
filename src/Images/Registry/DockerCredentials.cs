using System.Text;
using System.Text.Json;
using Ravel.Images.Manifests;
using Ravel.Linux.Processes;

namespace Ravel.Images.Registry;

/// <summary>A name and password, or a token to exchange for others (<paramref name="IdentityToken"/>).</summary>
internal sealed record RegistryCredentials(string UserName, string Password, string? IdentityToken = null);

/// <summary>Credentials from Docker's client configuration: plain ones, a credential store, or a helper per registry.</summary>
internal static class DockerCredentials
{
    private const int MaxFileBytes = 1024 * 1024;

    /// <summary>Of what a helper prints: a name, a secret and some JSON around them.</summary>
    private const int MaxHelperCharacters = 256 * 1024;

    /// <summary>Of a helper's own words in a message.</summary>
    private const int MaxShownCharacters = 200;

    /// <summary>Helpers report a token instead of a password under this name.</summary>
    private const string TokenUser = "<token>";

    /// <returns>Null when the file has none for the registry.</returns>
    /// <exception cref="ImageException"><c>registry-unauthorized</c>: the file or a helper does not work.</exception>
    public static async Task<RegistryCredentials?> FindAsync(string registry, RegistryOptions options, CancellationToken cancellationToken)
    {
        var file = options.DockerConfigFile ?? DefaultFile();
        if (!File.Exists(file))
            return null;
        JsonElement config;
        try
        {
            if (new FileInfo(file).Length > MaxFileBytes)
                throw Broken(file, $"it is over {MaxFileBytes} bytes", null);
            config = UntrustedJson.Parse(await File.ReadAllBytesAsync(file, cancellationToken));
        }
        catch (JsonException e)
        {
            // Where it is wrong, but not the words there, which may be a secret.
            throw Broken(file, $"it is not JSON, in line {e.LineNumber + 1}", null);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Broken(file, e.Message, e);
        }
        if (config.ValueKind != JsonValueKind.Object)
            throw Broken(file, "it is not a JSON object", null);

        if (Property(config, "credHelpers") is { } helpers && FindEntry(helpers, registry) is { ValueKind: JsonValueKind.String } helper)
            return await AskHelperAsync(helper.GetString()!, registry, file, options, cancellationToken);
        if (Property(config, "auths") is { } auths && FindEntry(auths, registry) is { ValueKind: JsonValueKind.Object } entry
            && Plain(entry, file) is { } plain)
            return plain;
        if (Property(config, "credsStore") is { ValueKind: JsonValueKind.String } store && store.GetString() is { Length: > 0 } name)
            return await AskHelperAsync(name, registry, file, options, cancellationToken);
        return null;
    }

    /// <summary>Docker writes its own registry in an old form, and others with or without a scheme.</summary>
    internal static bool IsFor(string key, string registry)
    {
        var host = key;
        foreach (var scheme in (string[])["https://", "http://"])
        {
            if (host.StartsWith(scheme, StringComparison.OrdinalIgnoreCase))
                host = host[scheme.Length..];
        }
        var slash = host.IndexOf('/');
        if (slash >= 0)
            host = host[..slash];
        if (host is "index.docker.io" or "registry-1.docker.io")
            host = ImageReference.DefaultRegistry;
        return string.Equals(host, registry, StringComparison.OrdinalIgnoreCase);
    }

    private static string DefaultFile()
    {
        var directory = Environment.GetEnvironmentVariable("DOCKER_CONFIG");
        if (string.IsNullOrEmpty(directory))
            directory = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".docker");
        return Path.Combine(directory, "config.json");
    }

    private static JsonElement? Property(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) ? value : null;

    private static JsonElement? FindEntry(JsonElement map, string registry)
    {
        if (map.ValueKind != JsonValueKind.Object)
            return null;
        JsonElement? found = null;
        foreach (var property in map.EnumerateObject())
        {
            if (string.Equals(property.Name, registry, StringComparison.Ordinal))
                return property.Value;
            if (found is null && IsFor(property.Name, registry))
                found = property.Value;
        }
        return found;
    }

    private static RegistryCredentials? Plain(JsonElement entry, string file)
    {
        var token = Text(entry, "identitytoken");
        if (Text(entry, "auth") is { Length: > 0 } encoded)
        {
            try
            {
                var pair = Encoding.UTF8.GetString(Convert.FromBase64String(encoded));
                var colon = pair.IndexOf(':');
                if (colon > 0)
                    return new RegistryCredentials(pair[..colon], pair[(colon + 1)..].TrimEnd('\0'), token);
            }
            catch (FormatException e)
            {
                throw Broken(file, "an auth entry is not base64", e);
            }
            throw Broken(file, "an auth entry has no name and password", null);
        }
        if (Text(entry, "username") is { Length: > 0 } user)
            return new RegistryCredentials(user, Text(entry, "password") ?? "", token);
        return token is null ? null : new RegistryCredentials("", "", token);
    }

    /// <summary>The protocol of docker-credential-helpers: <c>get</c>, the server on standard input, JSON on standard output.</summary>
    private static async Task<RegistryCredentials?> AskHelperAsync(
        string name, string registry, string file, RegistryOptions options, CancellationToken cancellationToken)
    {
        var program = $"docker-credential-{name}";
        if (name.Length == 0 || name.AsSpan().ContainsAny('/', '\0'))
            throw Broken(file, $"it names \"{name}\" as a credential helper, which is no name", null);
        var server = registry == ImageReference.DefaultRegistry ? "https://index.docker.io/v1/" : registry;
        CommandResult result;
        try
        {
            result = await CommandRunner.RunAsync(program, ["get"], server, options.HelperTimeout, cancellationToken);
        }
        catch (CommandException e)
        {
            throw NoAnswer(program, registry, file, e.Message, e);
        }
        if (result.ExitCode != 0)
        {
            // The protocol's way to say that there are none, on standard output.
            if (result.Output.Contains("credentials not found", StringComparison.OrdinalIgnoreCase))
                return null;
            var words = FirstLine(result.Output) is { Length: > 0 } line ? line : FirstLine(result.Error);
            throw NoAnswer(program, registry, file, $"it ended with {result.ExitCode}: {(words.Length > 0 ? words : "(it printed no reason)")}", null);
        }
        if (result.Output.Length > MaxHelperCharacters)
            throw NoAnswer(program, registry, file, $"it printed over {MaxHelperCharacters} characters", null);
        try
        {
            var answer = UntrustedJson.Parse(Encoding.UTF8.GetBytes(result.Output));
            var user = Text(answer, "Username") ?? "";
            var secret = Text(answer, "Secret") ?? "";
            if (secret.Length > 0 && user.Length > 0)
                return user == TokenUser ? new RegistryCredentials("", "", secret) : new RegistryCredentials(user, secret);
        }
        catch (JsonException)
        {
            // Its words may hold a secret, so they are not repeated, and the parser's would be.
            throw NoAnswer(program, registry, file, "what it printed is not JSON", null);
        }
        throw NoAnswer(program, registry, file, "what it printed has no Username and Secret", null);
    }

    private static ImageException NoAnswer(string program, string registry, string file, string why, Exception? inner)
    {
        var message = $"{program} gave no credentials for {registry}: {why}; mend it, or take it out of {file}";
        return inner is null ? new ImageException("registry-unauthorized", message) : new ImageException("registry-unauthorized", message, inner);
    }

    private static string? Text(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;

    private static string FirstLine(string text)
    {
        var end = text.IndexOf('\n');
        var line = RegistryFailure.OneLine(end < 0 ? text : text[..end]);
        return line.Length > MaxShownCharacters ? line[..MaxShownCharacters] : line;
    }

    private static ImageException Broken(string file, string why, Exception? inner) =>
        inner is null
            ? new ImageException("registry-unauthorized", $"{file} cannot be used: {why}")
            : new ImageException("registry-unauthorized", $"{file} cannot be used: {why}", inner);
}
