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
        var accepted = 0;
        await RandomLayers.Images.SampleAsync(
            async layers =>
            {
                var (isAccepted, differences) = await CompareAsync(oracle, layers, cancellation);
                TreeComparer.AssertNone(differences);
                if (isAccepted)
                    accepted++;
            },
            iter: iterations, threads: 1, print: RandomLayers.Describe);
        // Images that both refuse say nothing of trees.
        Assert.InRange(accepted, iterations / 4, iterations);
    }

    private static async Task<(bool IsAccepted, IReadOnlyList<string> Differences)> CompareAsync(
        UmociOracle oracle, IReadOnlyList<RandomLayers.Layer> layers, CancellationToken cancellation)
    {
        var directory = Directory.CreateTempSubdirectory("ravel-layers-");
        try
        {
            var builder = new LayoutBuilder(directory.FullName);
            foreach (var archive in RandomLayers.Archives(layers))
                builder.Layer(archive);
            return (true, await oracle.CompareAsync(builder.Build(), ignoreTimeOf: path => RandomLayers.IsTimeOpen(layers, path), cancellationToken: cancellation));
        }
        catch (ImageException refusal)
        {
            // The layout is where it was: what does umoci say?
            var tree = Path.Combine(directory.FullName, "tree");
            var umoci = await CommandRunner.RunAsync(
                "umoci", ["raw", "unpack", "--image", $"{directory.FullName}:latest", tree], cancellationToken: cancellation);
            return (false, umoci.ExitCode == 0 ? [$"refused, but umoci unpacks it: {refusal.Message}"] : []);
        }
        finally
        {
            await ImageRecipe.DeleteAsync(directory.FullName);
        }
    }
}
