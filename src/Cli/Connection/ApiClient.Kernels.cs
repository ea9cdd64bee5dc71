using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

internal sealed partial class ApiClient
{
    public Task<KernelList> ListKernelsAsync(CancellationToken cancellationToken) =>
        GetAsync("kernels", "v1/kernels", ApiJson.Default.KernelList, cancellationToken);

    /// <summary>Uploads a kernel, or a tar of one and its modules.</summary>
    public async Task<Kernel> AddKernelAsync(string subject, string? name, HttpContent content, CancellationToken cancellationToken)
    {
        var path = name is null ? "v1/kernels" : $"v1/kernels?name={Uri.EscapeDataString(name)}";
        using var response = await SendAsync(subject, HttpMethod.Post, path, content, cancellationToken);
        return await ReadAsync(subject, response, ApiJson.Default.Kernel, cancellationToken);
    }

    /// <summary>Builds the small kernel; the last line has the kernel, or the problem.</summary>
    public async IAsyncEnumerable<KernelProgress> BuildKernelAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await foreach (var line in LinesAsync(
            "kernel build", HttpMethod.Post, "v1/kernels/build", null, ApiJson.Default.KernelProgress, cancellationToken))
        {
            yield return line;
        }
    }

    public async Task<Kernel> SetDefaultKernelAsync(string reference, CancellationToken cancellationToken)
    {
        using var content = JsonContent.Create(new SetDefaultKernelRequest { Kernel = reference }, ApiJson.Default.SetDefaultKernelRequest);
        using var response = await SendAsync(reference, HttpMethod.Put, "v1/kernels/default", content, cancellationToken);
        return await ReadAsync(reference, response, ApiJson.Default.Kernel, cancellationToken);
    }

    public async Task<Kernel> RemoveKernelAsync(string reference, CancellationToken cancellationToken)
    {
        using var response = await SendAsync(
            reference, HttpMethod.Delete, $"v1/kernels/{Uri.EscapeDataString(reference)}", null, cancellationToken);
        return await ReadAsync(reference, response, ApiJson.Default.Kernel, cancellationToken);
    }
}
