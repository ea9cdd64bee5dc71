using Ravel.Cli.Errors;
using Ravel.Cli.Volumes;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;

namespace Ravel.Unit.Cli;

public sealed class VolumeNamesTests
{
    private static readonly Volume[] Volumes = [Of("vol_0123456789abcdef", "data"), Of("vol_0123456789fedcba", "logs")];
    private static readonly Volume[] Snapshots = [Of("vol_0123aaaaaaaaaaaa", "data"), Of("vol_9aaaaaaaaaaaaaaa", "data")];

    [Theory]
    [InlineData("vol_0123456789")]
    [InlineData("vol_0123")]
    public void A_prefix_of_several_means_none_of_them_nor_a_snapshot(string text)
    {
        var error = Assert.Throws<CliException>(() => VolumeNames.Resolve(text, Volumes, Snapshots));
        Assert.Contains("several volumes match", error.Message, StringComparison.Ordinal);
        Assert.Equal("give an id, or APP/NAME", error.Remedy);
    }

    [Theory]
    [InlineData("data", "vol_0123456789abcdef")]
    [InlineData("default/logs", "vol_0123456789fedcba")]
    [InlineData("vol_0123456789a", "vol_0123456789abcdef")]
    [InlineData("vol_9", "vol_9aaaaaaaaaaaaaaa")]
    [InlineData("vol_0123aaaaaaaaaaaa", "vol_0123aaaaaaaaaaaa")]
    public void A_name_means_a_volume_and_an_id_or_its_unique_beginning_a_snapshot_too(string text, string id) =>
        Assert.Equal(id, VolumeNames.Resolve(text, Volumes, Snapshots).Id.Value);

    private static Volume Of(string id, string name) => new() { Id = VolumeId.Parse(id), Name = name, App = "default", State = "created", SizeGb = 1, SizeMb = 1024, CreatedAt = DateTimeOffset.UnixEpoch };
}
