using System.Net;
using System.Net.Sockets;

namespace Ravel.Images.Registry;

/// <summary>A place that may have an image.</summary>
/// <param name="Host">Host and port, as credentials and settings know it.</param>
/// <param name="Repository">The image's repository there.</param>
internal sealed record RegistryPlace(string Host, string Repository, Uri Endpoint);

/// <summary>Where registries are, and who may be spoken to without TLS.</summary>
internal static class RegistryEndpoint
{
    private const string DockerHub = "registry-1.docker.io";

    /// <summary>Of clouds that have theirs outside the link's own addresses.</summary>
    private static readonly IPAddress[] Metadata = [IPAddress.Parse("fd00:ec2::254"), IPAddress.Parse("100.100.100.200")];

    public static Uri Of(string registry, RegistryOptions options)
    {
        var authority = registry == ImageReference.DefaultRegistry ? DockerHub : registry;
        return new Uri($"{(IsPlainHttp(authority, options) ? "http" : "https")}://{authority}");
    }

    /// <summary>The places to ask for an image, in order: the registry's mirrors, then the registry.</summary>
    public static IReadOnlyList<RegistryPlace> PlacesOf(ImageReference reference, RegistryOptions options)
    {
        var mirrors = options.Mirrors.GetValueOrDefault(reference.Registry) ?? [];
        return
        [
            .. mirrors.Select(mirror => new RegistryPlace(
                mirror.Host, mirror.Prefix.Length == 0 ? reference.Repository : $"{mirror.Prefix}/{reference.Repository}", Of(mirror.Host, options))),
            new RegistryPlace(reference.Registry, reference.Repository, Of(reference.Registry, options)),
        ];
    }

    /// <summary>Loopback addresses and what the operator named; everything else speaks TLS.</summary>
    public static bool IsPlainHttp(string authority, RegistryOptions options) =>
        Uri.TryCreate($"http://{authority}", UriKind.Absolute, out var uri)
        && (IsIn(options.PlainHttpRegistries, uri, authority)
            || (IsLoopback(uri) && !IsIn(options.TlsRegistries, uri, authority) && !IsIn(options.Authorities.Keys, uri, authority)));

    /// <summary>
    /// Whether a registry may send us to an address, by redirect or for a token. A registry elsewhere may not reach this
    /// host's own services through us.
    /// </summary>
    public static bool MaySendTo(Uri from, Uri to, RegistryOptions options) => to.Scheme switch
    {
        "https" => !IsThisHost(to) || IsThisHost(from) || IsIn(options.TlsRegistries, to, to.Authority) || IsIn(options.Authorities.Keys, to, to.Authority),
        "http" => IsIn(options.PlainHttpRegistries, to, to.Authority) || (IsThisHost(to) && IsThisHost(from)),
        _ => false,
    };

    /// <summary>
    /// Whether what a name resolves to may be connected to. Whoever holds a name may point it at this host, at its link, or at the
    /// services clouds have there; only the operator's own names may lead so, and those that say that they are this host.
    /// </summary>
    public static bool MayConnect(Uri to, IPAddress address, RegistryOptions options)
    {
        var plain = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        var isLink = plain.IsIPv6LinkLocal || plain.IsIPv6Multicast || Metadata.Contains(plain)
            || (plain.AddressFamily == AddressFamily.InterNetwork && plain.GetAddressBytes() is [169, 254, ..] or [>= 224, ..]);
        return (!isLink && !IsThisHost(plain))
            || (!isLink && IsThisHost(to))
            || IsIn(options.PlainHttpRegistries, to, to.Authority)
            || IsIn(options.TlsRegistries, to, to.Authority)
            || IsIn(options.Authorities.Keys, to, to.Authority)
            || options.Mirrors.Values.Any(mirrors => IsIn(mirrors.Select(mirror => mirror.Host), to, to.Authority));
    }

    private static bool IsIn(IEnumerable<string> registries, Uri uri, string authority) =>
        registries.Any(registry => string.Equals(registry, authority, StringComparison.OrdinalIgnoreCase)
            || string.Equals(registry, uri.Host, StringComparison.OrdinalIgnoreCase));

    /// <summary>Loopback under any of its names (RFC 6761, 6.3), and the addresses that Linux connects to itself.</summary>
    private static bool IsThisHost(Uri uri) =>
        IsLoopback(uri) || uri.Host.TrimEnd('.') is "localhost" || uri.Host.TrimEnd('.').EndsWith(".localhost", StringComparison.Ordinal)
        || (IPAddress.TryParse(uri.Host.Trim('[', ']'), out var address)
            && IsThisHost(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address));

    /// <summary>Linux connects all of 0.0.0.0/8 to itself.</summary>
    private static bool IsThisHost(IPAddress address) =>
        IPAddress.IsLoopback(address) || address.Equals(IPAddress.IPv6Any)
        || (address.AddressFamily == AddressFamily.InterNetwork && address.GetAddressBytes()[0] == 0);

    private static bool IsLoopback(Uri uri) =>
        uri.Host == "localhost" || (IPAddress.TryParse(uri.Host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));
}
