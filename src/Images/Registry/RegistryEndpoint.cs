using System.Net;

namespace Ravel.Images.Registry;

/// <summary>Where a registry of a reference is.</summary>
internal static class RegistryEndpoint
{
    private const string DockerHub = "registry-1.docker.io";

    public static Uri Of(string registry, RegistryOptions options)
    {
        var authority = registry == ImageReference.DefaultRegistry ? DockerHub : registry;
        return new Uri($"{(IsPlainHttp(authority, options) ? "http" : "https")}://{authority}");
    }

    /// <summary>Loopback addresses and what the operator named; everything else speaks TLS.</summary>
    public static bool IsPlainHttp(string authority, RegistryOptions options)
    {
        if (options.PlainHttpRegistries.Contains(authority, StringComparer.OrdinalIgnoreCase))
            return true;
        if (!Uri.TryCreate($"http://{authority}", UriKind.Absolute, out var uri))
            return false;
        return options.PlainHttpRegistries.Contains(uri.Host, StringComparer.OrdinalIgnoreCase)
            || uri.Host == "localhost"
            || (IPAddress.TryParse(uri.Host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));
    }
}
