using System.CommandLine.Completions;
using Ravel.Cli.Connection;
using Ravel.Cli.Errors;
using Ravel.Cli.Images;
using Ravel.Cli.Parsing;

namespace Ravel.Cli.Shell;

/// <summary>Names that only the server knows, for completion. Whatever goes wrong, there is just nothing to offer.</summary>
internal static class Completions
{
    /// <summary>A key press must not hang on a server that does not answer.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    public static IEnumerable<CompletionItem> Machines(CompletionContext context) => Ask(context, async (api, cancellationToken) =>
        (await api.ListMachinesAsync(cancellationToken)).Select(machine => new CompletionItem(machine.Name, detail: $"{machine.State}, {machine.Config.Image}")));

    public static IEnumerable<CompletionItem> Images(CompletionContext context) => Ask(context, async (api, cancellationToken) =>
        (await api.ListImagesAsync(cancellationToken)).Images.SelectMany(image => image.References).Select(reference => new CompletionItem(ImageName.Familiar(reference))));

    public static IEnumerable<CompletionItem> Kernels(CompletionContext context) => Ask(context, async (api, cancellationToken) =>
        (await api.ListKernelsAsync(cancellationToken)).Kernels.Select(kernel => new CompletionItem(kernel.Name, detail: kernel.Release)));

    private static IEnumerable<CompletionItem> Ask(
        CompletionContext context, Func<ApiClient, CancellationToken, Task<IEnumerable<CompletionItem>>> ask)
    {
        try
        {
            var result = context.ParseResult;
            var address = ServerAddress.Find(
                result.GetValue(GlobalOptions.Server),
                result.GetValue(GlobalOptions.Data),
                result.GetValue(GlobalOptions.Token),
                Surroundings.OfProcess(),
                DataDirectory.ReadClient);
            using var api = new ApiClient(address, result.GetValue(GlobalOptions.Namespace));
            using var deadline = new CancellationTokenSource(Patience);
            return ask(api, deadline.Token).GetAwaiter().GetResult();
        }
        catch (Exception e) when (e is CliException or OperationCanceledException or InvalidOperationException)
        {
            return [];
        }
    }
}
