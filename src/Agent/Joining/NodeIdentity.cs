using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;
using Ravel.Contracts.Api;
using Ravel.Linux.Files;

namespace Ravel.Agent.Joining;

/// <summary>Who this host is in its cluster. Has the key.</summary>
internal sealed record NodeIdentity
{
    public required string NodeId { get; init; }

    /// <summary>PKCS #8.</summary>
    public required byte[] Key { get; init; }

    /// <summary>Null: this host has a key and is about to join with it.</summary>
    public byte[]? Certificate { get; init; }

    public byte[]? Authority { get; init; }

    /// <summary>Hubs of the servers, as they were last told.</summary>
    public IReadOnlyList<string> Servers { get; init; } = [];

    /// <summary>The certificate with its key.</summary>
    /// <exception cref="CryptographicException">They are not one.</exception>
    public X509Certificate2 Load()
    {
        using var key = LoadKey();
        using var certificate = X509CertificateLoader.LoadCertificate(Certificate!);
        return certificate.CopyWithPrivateKey(key);
    }

    public ECDsa LoadKey()
    {
        var key = ECDsa.Create();
        key.ImportPkcs8PrivateKey(Key, out _);
        return key;
    }
}

/// <summary>
/// Keeps the identity in one file, readable by its owner alone and replaced as a whole: a key without its certificate is never left. The key of
/// a join that is under way is beside it, so that an identity is given up for a better one only.
/// </summary>
internal sealed class NodeIdentityFile(string directory)
{
    private string FilePath => Path.Combine(directory, "identity.json");

    private string PendingPath => Path.Combine(directory, "joining.json");

    /// <exception cref="JoinException">It is there and cannot be read.</exception>
    public NodeIdentity? TryRead() => TryRead(FilePath);

    /// <summary>What this host is about to join with.</summary>
    /// <exception cref="JoinException">It is there and cannot be read.</exception>
    public NodeIdentity? TryReadPending() => TryRead(PendingPath);

    public void Write(NodeIdentity identity) => Write(identity, FilePath);

    public void WritePending(NodeIdentity identity) => Write(identity, PendingPath);

    /// <summary>After the identity that came of it was written.</summary>
    public void RemovePending() => File.Delete(PendingPath);

    private static NodeIdentity? TryRead(string path)
    {
        try
        {
            var identity = JsonSerializer.Deserialize(File.ReadAllBytes(path), IdentityJson.Default.NodeIdentity)
                ?? throw new JsonException("it is empty");
            using var key = identity.LoadKey();
            if (identity.Certificate is not null)
                identity.Load().Dispose();
            return identity;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (e is JsonException or CryptographicException or ArgumentException)
        {
            throw new JoinException(ProblemCodes.Internal, $"{path} is damaged ({e.Message}); remove it, and join again with a new token.");
        }
    }

    private void Write(NodeIdentity identity, string path)
    {
        Directory.CreateDirectory(directory);
        var temporary = path + ".new";
        File.Delete(temporary);
        using (var file = new FileStream(temporary, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }))
            JsonSerializer.Serialize(file, identity, IdentityJson.Default.NodeIdentity);
        DurableFiles.Publish(temporary, path);
    }
}

// Nulls are left out: generated code writes an array of bytes that is null as an empty one.
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(NodeIdentity))]
internal sealed partial class IdentityJson : JsonSerializerContext;
