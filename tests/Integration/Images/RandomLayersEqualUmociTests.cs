using CsCheck;
using Ravel.Images;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>Random images: mounted by the kernel they are what umoci unpacks, and what umoci refuses is refused.</summary>
public sealed class RandomLayersEqualUmociTests
{
    [Fact]
    public Task Random_layers_are_what_umoci_unpacks() => CompareAsync(iterations: 60);

    [Fact(Explicit = true)]
    [Trait("Kind", "Soak")]
    public Task Many_random_layers_are_what_umoci_unpacks() => CompareAsync(iterations: 3000);

    private static async Task CompareAsync(int iterations)
    {
        var cancellation = TestContext.Current.CancellationToken;
        await using var oracle = new UmociOracle();
        await RandomLayers.Images.SampleAsync(
            async layers => TreeComparer.AssertNone(await CompareAsync(oracle, layers, cancellation)),
            iter: iterations, threads: 1, print: RandomLayers.Describe);
    }

    private static async Task<IReadOnlyList<string>> CompareAsync(
        UmociOracle oracle, IReadOnlyList<RandomLayers.Layer> layers, CancellationToken cancellation)
    {
        var directory = Directory.CreateTempSubdirectory("ravel-layers-");
        try
        {
            var builder = new LayoutBuilder(directory.FullName);
            foreach (var archive in RandomLayers.Archives(layers))
                builder.Layer(archive);
            return await oracle.CompareAsync(builder.Build(), ignoreTimeOf: path => RandomLayers.IsTimeOpen(layers, path), cancellationToken: cancellation);
        }
        catch (ImageException refusal)
        {
            // The layout is where it was: what does umoci say?
            var tree = Path.Combine(directory.FullName, "tree");
            var umoci = await CommandRunner.RunAsync(
                "umoci", ["raw", "unpack", "--image", $"{directory.FullName}:latest", tree], cancellationToken: cancellation);
            return umoci.ExitCode == 0 ? [$"refused, but umoci unpacks it: {refusal.Message}"] : [];
        }
        finally
        {
            await ImageRecipe.DeleteAsync(directory.FullName);
        }
    }
}
