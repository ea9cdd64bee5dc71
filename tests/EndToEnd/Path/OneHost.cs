using Ravel.Testing.EndToEnd;

namespace Ravel.EndToEnd.Path;

/// <summary>A host that is up, with a registry on its loopback that holds the images; shared by the tests of a collection.</summary>
[CollectionDefinition(nameof(OneHost))]
public sealed class OneHost : IAsyncLifetime, ICollectionFixture<OneHost>
{
    public RavelHost Host { get; private set; } = null!;

    public HostImages Images { get; private set; } = null!;

    public string Busybox => Images.Busybox;

    public string Nginx => Images.Nginx;

    public async ValueTask InitializeAsync()
    {
        Host = await RavelHost.CreateAsync();
        Images = await HostImages.ServeAsync(Host);
        await Host.UpAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (Images is not null)
            await Images.DisposeAsync();
        if (Host is not null)
            await Host.DisposeAsync();
    }
}
