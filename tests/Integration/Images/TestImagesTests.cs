using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

public sealed class TestImagesTests
{
    [Fact]
    public async Task A_real_registry_serves_the_busybox_and_nginx_images()
    {
        var cancellation = TestContext.Current.CancellationToken;
        await using var registry = await RegistryFixture.StartAsync(cancellationToken: cancellation);
        var busybox = await registry.PushAsync(await TestImages.BusyboxAsync(cancellation), "busybox:1", cancellation);
        var nginx = await registry.PushAsync(await TestImages.NginxAsync(cancellation), "web/nginx:latest", cancellation);

        Assert.Contains("\"sh\"", await InspectAsync(busybox, cancellation));
        Assert.Contains("daemon off;", await InspectAsync(nginx, cancellation));
    }

    private static Task<string> InspectAsync(string reference, CancellationToken cancellation) =>
        CommandRunner.RunCheckedAsync(
            "skopeo", ["inspect", "--config", "--tls-verify=false", $"docker://{reference}"], cancellationToken: cancellation);
}
