using System.Net.Http.Headers;
using System.Text;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

public sealed class KernelApiTests : IAsyncLifetime
{
    private ControlPlaneHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await ControlPlaneHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task Kernels_are_added_listed_chosen_and_removed()
    {
        _host.Node.AddKernel("host", 10);
        var added = await UploadAsync("/v1/kernels?name=mine", "a kernel"u8.ToArray()).ReadAsync(ApiJson.Default.Kernel);
        Assert.Equal(("mine", 8L, false), (added.Name, added.Size, added.Default));

        var chosen = await _host.Client.PutAsync("/v1/kernels/default", Json("""{"kernel":"mine"}"""), TestContext.Current.CancellationToken).ReadAsync(ApiJson.Default.Kernel);
        Assert.True(chosen.Default);
        var list = await _host.Client.GetAsync("/v1/kernels", TestContext.Current.CancellationToken).ReadAsync(ApiJson.Default.KernelList);
        Assert.Equal([("host", false), ("mine", true)], list.Kernels.Select(kernel => (kernel.Name, kernel.Default)));

        await RefusedAsync("kernel-in-use", _host.Client.DeleteAsync("/v1/kernels/mine", TestContext.Current.CancellationToken));
        await RefusedAsync("kernel-not-found", _host.Client.DeleteAsync("/v1/kernels/gone", TestContext.Current.CancellationToken));
        await _host.Client.DeleteAsync("/v1/kernels/host", TestContext.Current.CancellationToken).ReadAsync(ApiJson.Default.Kernel);
        Assert.Equal("mine", Assert.Single(_host.Node.Kernels).Name);
    }

    [Fact]
    public async Task A_file_that_is_no_kernel_is_refused_with_the_nodes_words()
    {
        await RefusedAsync("kernel-invalid", UploadAsync("/v1/kernels", []));
        using var text = new StringContent("x");
        await RefusedAsync("unsupported-media-type", _host.Client.PostAsync("/v1/kernels", text, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_build_is_a_line_for_each_step_and_last_the_kernel_or_the_problem()
    {
        _host.Node.OnBuild = async lines =>
        {
            await lines.WriteAsync(new BuildKernelProgress { Step = new BuildKernelStep { Phase = "compile", Done = 1, Total = 2 } }, CancellationToken.None);
            await lines.WriteAsync(new BuildKernelProgress { Kernel = _host.Node.AddKernel("small", 1) }, CancellationToken.None);
        };
        var lines = (await BuildAsync()).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("""{"phase":"compile","done":1,"total":2}""", lines[0]);
        Assert.Contains("\"name\":\"small\"", lines[1], StringComparison.Ordinal);

        _host.Node.OnBuild = async lines =>
        {
            await lines.WriteAsync(new BuildKernelProgress { Step = new BuildKernelStep { Phase = "source" } }, CancellationToken.None);
            throw FakeNode.Refusal("kernel-build-failed", "The kernel could not be built: no.");
        };
        Assert.Contains("\"code\":\"kernel-build-failed\"", await BuildAsync(), StringComparison.Ordinal);

        async Task<string> BuildAsync()
        {
            using var answer = await _host.Client.PostAsync("/v1/kernels/build", null, TestContext.Current.CancellationToken);
            return await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        }
    }

    [Fact]
    public async Task A_machines_kernel_is_kept_by_its_digest_whatever_its_name_comes_to_mean()
    {
        await _host.Client.CreateAppAsync("web");
        var kernel = _host.Node.AddKernel("mine", 1);
        var machine = await _host.Client.PostAsync("/v1/apps/web/machines", Json("""{"config":{"image":"app","guest":{"kernel":"mine"}}}"""), TestContext.Current.CancellationToken).ReadAsync(ApiJson.Default.Machine);
        Assert.Equal($"mine@{kernel.Digest}", machine.Config.Guest!.Kernel);
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        Assert.Equal(kernel.Digest, _host.Node.Puts.Last().Spec.Kernel);

        await RefusedAsync("kernel-not-found", _host.Client.PostAsync("/v1/apps/web/machines", Json("""{"config":{"image":"app","guest":{"kernel":"gone"}}}"""), TestContext.Current.CancellationToken));
        await RefusedAsync("invalid-request", _host.Client.PostAsync("/v1/apps/web/machines", Json("""{"config":{"image":"app","guest":{"kernel":"a b"}}}"""), TestContext.Current.CancellationToken));
    }

    private static async Task RefusedAsync(string code, Task<HttpResponseMessage> call) => Assert.Equal(code, (await call.ProblemAsync()).Code);

    private static StringContent Json(string text) => new(text, Encoding.UTF8, "application/json");

    private async Task<HttpResponseMessage> UploadAsync(string path, byte[] content)
    {
        using var body = new ByteArrayContent(content);
        body.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        return await _host.Client.PostAsync(path, body, TestContext.Current.CancellationToken);
    }
}
