using System.Text;
using Ravel.Images;
using Ravel.Images.Archives;
using Ravel.Images.Manifests;
using Ravel.Images.Registry;

namespace Ravel.Testing.Images.Fuzzing;

/// <summary>
/// Index, nested index, manifest and configuration of an OCI layout. They name each other by marks (<c>digest of 2</c>, <c>size of 2</c>)
/// for which the right values stand when they are read, so that what is behind a changed document is reached.
/// </summary>
public sealed class ManifestTarget : FuzzTarget
{
    private const char Separator = '\u001e';

    private static readonly string[] Words =
    [
        "\"manifests\"", "\"layers\"", "\"config\"", "\"mediaType\"", "\"digest\"", "\"size\"", "\"platform\"", "\"os\"", "\"architecture\"", "\"variant\"", "\"annotations\"", "\"rootfs\"", "\"diff_ids\"",
        "\"Env\"", "\"Cmd\"", "\"Entrypoint\"", "\"User\"", "\"WorkingDir\"", "\"StopSignal\"", "\"ExposedPorts\"", "\"created\"", "\"linux\"", "\"amd64\"", "\"arm64\"", "\"windows\"", "\"unknown\"",
        "\"application/vnd.oci.image.index.v1+json\"", "\"application/vnd.oci.image.manifest.v1+json\"", "\"application/vnd.oci.image.layer.v1.tar+zstd\"",
        "\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\"", "\"digest of 0\"", "\"digest of 1\"", "\"digest of 2\"", "\"digest of 3\"", "\"size of 1\"", "\"size of 2\"", "\"size of 3\"",
        "\"org.opencontainers.image.ref.name\"",
    ];

    public override string Name => "manifest";

    public override IReadOnlyList<byte[]> Seeds { get; } =
    [
        Seed(
            """{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"digest of 1","size":"size of 1","annotations":{"org.opencontainers.image.ref.name":"latest"}}]}""",
            """{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"digest of 3","size":9,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"digest of 2","size":"size of 2","platform":{"os":"linux","architecture":"amd64"}}]}""",
            Manifest, Config),
        Seed("""{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"digest of 2","size":"size of 2"}]}""", "{}", Manifest, Config),
    ];

    private static string Manifest =>
        """{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"digest of 3","size":"size of 3"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:0123456789012345678901234567890123456789012345678901234567890123","size":1000}]}""";

    private static string Config =>
        """{"created":"2024-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{"User":"1000:1000","ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin","A=B"],"Entrypoint":["/e"],"Cmd":["sh","-c"],"WorkingDir":"/w","StopSignal":"SIGTERM","Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":["sha256:0123456789012345678901234567890123456789012345678901234567890123"]},"history":[{"created_by":"x"}]}""";

    public override byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool)
    {
        var documents = Encoding.Latin1.GetString(input).Split(Separator);
        var at = random.Next(documents.Length);
        var others = Encoding.Latin1.GetString(ByteMutator.Pick(random, pool)).Split(Separator).Select(Encoding.Latin1.GetBytes).ToList();
        documents[at] = Encoding.Latin1.GetString(TextMutator.Mutate(random, Encoding.Latin1.GetBytes(documents[at]), others, Words));
        return Encoding.Latin1.GetBytes(string.Join(Separator, documents));
    }

    public override string Read(byte[] input)
    {
        var documents = Encoding.Latin1.GetString(input).Split(Separator);
        var files = new Dictionary<string, byte[]>();
        // From the last to the first, because a digest has to be known before it can stand in another document.
        for (var i = documents.Length - 1; i >= 0; i--)
        {
            var content = Encoding.Latin1.GetBytes(documents[i]);
            var digest = Digest.Of(content);
            files[$"blobs/sha256/{digest.Hex}"] = content;
            for (var j = 0; j < i; j++)
            {
                documents[j] = documents[j]
                    .Replace($"\"digest of {i}\"", $"\"{digest}\"", StringComparison.Ordinal)
                    .Replace($"\"size of {i}\"", $"{content.Length}", StringComparison.Ordinal);
            }
        }
        files["index.json"] = Encoding.Latin1.GetBytes(documents[0]);
        var source = new OciLayoutSource(new MemoryFiles(files), null, "fuzz", new ImageLimits());
        var image = source.ResolveAsync(CancellationToken.None).GetAwaiter().GetResult();
        var config = image.Config;
        var texts = (string[])[.. config.Env, .. config.Cmd, .. config.Entrypoint, .. config.ExposedPorts, config.User, config.WorkingDir, config.StopSignal];
        if (texts.Any(text => text.Contains('\0')) || texts.Sum(text => text.Length) > ManifestReader.MaxRunSettingsCharacters)
            throw new InvalidOperationException("A configuration came through that no guest may get.");
        return $"{image.Layers.Count} layers, {config.Env.Count} env, {image.CreatedSeconds != 0}";
    }

    private static byte[] Seed(params string[] documents) => Encoding.Latin1.GetBytes(string.Join(Separator, documents));

    private sealed class MemoryFiles(Dictionary<string, byte[]> files) : IBlobFiles
    {
        public Stream? Open(string path) => files.TryGetValue(path, out var content) ? new MemoryStream(content) : null;

        public void Dispose()
        {
        }
    }
}

/// <summary>Archives of whole images (docker-archive, oci-archive), resolved and their layers read.</summary>
public sealed class ImageArchiveTarget : FuzzTarget
{
    private static readonly ImageLimits Limits = new() { MaxCompressedBytes = 4 << 20 };

    public override string Name => "archive";

    public override IReadOnlyList<byte[]> Seeds { get; } = [Docker(), Oci(), Compressed.Gzip(Docker())];

    public override byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool) =>
        input is [0x1f, 0x8b, ..] ? ByteMutator.Mutate(random, input, pool, []) : TarMutator.Mutate(random, input, pool);

    public override string Read(byte[] input)
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, input);
            return ReadAsync(path).GetAwaiter().GetResult();
        }
        catch (ImageException e)
        {
            throw new ImageException(e.Code, e.Message.Replace(path, "", StringComparison.Ordinal), e);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static async Task<string> ReadAsync(string path)
    {
        await using var source = ImageLocation.OpenFile(path, null, Path.GetTempPath(), Limits, CancellationToken.None);
        var image = await source.ResolveAsync(CancellationToken.None);
        foreach (var layer in image.Layers)
        {
            await using var stream = await source.OpenLayerAsync(layer, 0, CancellationToken.None);
            await stream.CopyToAsync(Stream.Null);
        }
        return $"{source.GetType().Name} {image.Layers.Count}";
    }

    private static byte[] Docker()
    {
        var layer = Encoding.Latin1.GetString(Archives.All[0]);
        var diffId = Digest.Of(Archives.All[0]);
        return new TarBuilder()
            .File("manifest.json", """[{"Config":"config.json","RepoTags":["app:1"],"Layers":["one/layer.tar","two/layer.tar"]}]""")
            .File("config.json", $$"""{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":["{{diffId}}","{{diffId}}"]} }""")
            .File("one/layer.tar", layer).SymbolicLink("two/layer.tar", "../one/layer.tar").ToArray();
    }

    private static byte[] Oci()
    {
        var layer = Archives.All[0];
        var diffId = Digest.Of(layer);
        var config = $$"""{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["{{diffId}}"]} }""";
        var manifest = $$"""{"schemaVersion":2,"config":{"digest":"{{DigestOf(config)}}","size":{{config.Length}} },"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{{diffId}}","size":{{layer.Length}} }]}""";
        var index = $$"""{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{{DigestOf(manifest)}}","size":{{manifest.Length}} }]}""";
        return new TarBuilder()
            .File("oci-layout", """{"imageLayoutVersion":"1.0.0"}""").File("index.json", index)
            .File($"blobs/sha256/{DigestOf(config).Hex}", config).File($"blobs/sha256/{DigestOf(manifest).Hex}", manifest)
            .File($"blobs/sha256/{diffId.Hex}", Encoding.Latin1.GetString(layer)).ToArray();
    }

    private static Digest DigestOf(string text) => Digest.Of(Encoding.UTF8.GetBytes(text));
}

/// <summary>What a registry, a user or Docker's configuration says in text: references, challenges, credentials.</summary>
public sealed class TextTarget : FuzzTarget
{
    // No key that names a credential helper: it would be run.
    private static readonly string[] Words =
    [
        "Bearer ", "Basic ", "realm=", "service=", "scope=", "error=", "\"https://auth.example/token\"", "\\", "localhost:5000", "docker.io", "index.docker.io", "library/", ":latest", "@sha256:",
        "sha256:0123456789012345678901234567890123456789012345678901234567890123", "[::1]:5000", "\"auths\"", "\"auth\"", "\"dXNlcjpwYXNz\"", "\"username\"", "\"password\"", "\"identitytoken\"", "https://", "http://", "/v1/",
    ];

    public override string Name => "text";

    public override IReadOnlyList<byte[]> Seeds { get; } =
    [
        "localhost:5000/team/app.name_x:v1.2-3@sha256:0123456789012345678901234567890123456789012345678901234567890123"u8.ToArray(),
        "nginx"u8.ToArray(),
        """Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull",error="invalid_token" """u8.ToArray(),
        """Basic realm="a\"b", charset=UTF-8"""u8.ToArray(),
        """{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNz"},"localhost:5000":{"username":"u","password":"p","identitytoken":"t"}},"HttpHeaders":{}}"""u8.ToArray(),
    ];

    public override byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool) => TextMutator.Mutate(random, input, pool, Words);

    public override string Read(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input);
        var challenges = AuthenticationChallenge.Parse(text);
        if (ImageReference.TryParse(text, out var reference, out _)
            && (!ImageReference.TryParse(reference!.ToString(), out var again, out _) || again != reference))
            throw new InvalidOperationException($"{reference} does not mean itself.");
        var credentials = "";
        if (text.Contains("auth", StringComparison.Ordinal) && !text.Contains("cred", StringComparison.Ordinal))
            credentials = Credentials(input);
        return $"{reference is not null} {challenges.Any(challenge => challenge.Parameters.Count > 1)} {credentials}";
    }

    private static string Credentials(byte[] input)
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, input);
            var found = DockerCredentials.FindAsync("localhost:5000", new RegistryOptions { DockerConfigFile = path }, CancellationToken.None).GetAwaiter().GetResult();
            return $"{found is not null} {found?.IdentityToken is not null}";
        }
        catch (ImageException e)
        {
            throw new ImageException(e.Code, e.Message.Replace(path, "", StringComparison.Ordinal), e);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
