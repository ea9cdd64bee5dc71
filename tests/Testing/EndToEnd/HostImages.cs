using Ravel.Testing.Images;

namespace Ravel.Testing.EndToEnd;

/// <summary>A registry on the loopback of a <see cref="RavelHost"/> with the images the end-to-end suite runs.</summary>
public sealed class HostImages : IAsyncDisposable
{
    private readonly RegistryFixture _registry;

    private HostImages(RegistryFixture registry, string busybox, string nginx)
    {
        _registry = registry;
        Busybox = busybox;
        Nginx = nginx;
    }

    /// <summary>host:port, as it stands at the head of a reference.</summary>
    public string Registry => _registry.Host;

    public string Busybox { get; }

    public string Nginx { get; }

    public static async Task<HostImages> ServeAsync(RavelHost host)
    {
        var registry = await RegistryFixture.StartAsync(networkNamespace: host.NetworkNamespaceName);
        try
        {
            var busybox = await registry.PushAsync(await TestImages.BusyboxAsync(), "library/busybox:1");
            var nginx = await registry.PushAsync(await TestImages.NginxAsync(), "library/nginx:1");
            return new HostImages(registry, busybox, nginx);
        }
        catch
        {
            await registry.DisposeAsync();
            throw;
        }
    }

    /// <summary>Puts another image into the registry; returns its reference.</summary>
    public Task<string> PushAsync(OciLayout image, string name) => _registry.PushAsync(image, name);

    public ValueTask DisposeAsync() => _registry.DisposeAsync();
}
