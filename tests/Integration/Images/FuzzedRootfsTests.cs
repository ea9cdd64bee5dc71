using Ravel.Linux.Processes;
using Ravel.Testing.Images.Fuzzing;
using Ravel.Testing.Needs;

namespace Ravel.Integration.Images;

/// <summary>What the writer makes of mutated layers that it accepts, before an oracle that is not ours.</summary>
public sealed class FuzzedRootfsTests : IDisposable
{
    private const int Seed = 20240607;

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-fuzzed-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public Task Rootfs_of_mutated_layers_pass_fsck() => CheckAsync(50);

    [Fact(Explicit = true)]
    [Trait("Kind", "Soak")]
    public Task Rootfs_of_thousands_of_fuzz_mutated_layers_pass_fsck() => CheckAsync(3000);

    private async Task CheckAsync(int images)
    {
        Need.Program("fsck.erofs");
        var accepted = 0;
        var target = new MergeTarget
        {
            Accepted = image => File.WriteAllBytes(Path.Combine(_directory, $"{accepted++}.erofs"), image),
        };
        new Fuzzer(target, Seed).Run(_ => accepted < images);
        Assert.Equal(images, Directory.GetFiles(_directory).Length);
        foreach (var image in Directory.EnumerateFiles(_directory))
        {
            var result = await CommandRunner.RunAsync("fsck.erofs", ["--extract", image], cancellationToken: TestContext.Current.CancellationToken);
            Assert.True(result.ExitCode == 0, $"{image}: {result.Output}{result.Error}");
        }
    }
}
