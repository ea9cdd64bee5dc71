using System.Security.Cryptography.X509Certificates;

namespace Ravel.Trust;

/// <summary>Who a certificate is about: its subject is <c>O=ravel:server</c> or <c>O=ravel:node</c>, and <c>CN</c> = the id.</summary>
/// <param name="Role">What its holder may be.</param>
/// <param name="Id">Of the server or node: 1 to 64 letters, digits, <c>.</c>, <c>_</c> and <c>-</c>.</param>
public sealed record PeerIdentity(PeerRole Role, string Id)
{
    /// <summary>Bound of a common name (RFC 5280, appendix A: ub-common-name).</summary>
    public const int MaxIdLength = 64;

    private const string CommonName = "2.5.4.3";
    private const string Organization = "2.5.4.10";

    public static bool IsId(string text) =>
        text.Length is > 0 and <= MaxIdLength && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');

    /// <summary>What a certificate says; null when it says anything else. Whether to believe it is <see cref="PeerVerifier"/>'s to tell.</summary>
    public static PeerIdentity? Of(X509Certificate2 certificate)
    {
        string? organization = null, name = null;
        foreach (var part in certificate.SubjectName.EnumerateRelativeDistinguishedNames())
        {
            if (part.HasMultipleElements)
                return null;
            switch (part.GetSingleElementType().Value)
            {
                case Organization when organization is null:
                    organization = part.GetSingleElementValue();
                    break;
                case CommonName when name is null:
                    name = part.GetSingleElementValue();
                    break;
                default:
                    return null;
            }
        }
        PeerRole? role = organization switch
        {
            "ravel:server" => PeerRole.Server,
            "ravel:node" => PeerRole.Node,
            _ => null,
        };
        return role is { } known && name is not null && IsId(name) ? new PeerIdentity(known, name) : null;
    }

    /// <summary>The subject of a certificate for it.</summary>
    /// <exception cref="ArgumentException">The id has other characters than those above.</exception>
    public X500DistinguishedName ToSubject()
    {
        if (!IsId(Id))
            throw new ArgumentException($"'{Id}' cannot be the name of a certificate.");
        var subject = new X500DistinguishedNameBuilder();
        subject.AddCommonName(Id);
        subject.AddOrganizationName(Role == PeerRole.Server ? "ravel:server" : "ravel:node");
        return subject.Build();
    }
}
