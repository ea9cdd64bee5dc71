using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>The kernel's view of our rootfs against <c>umoci unpack</c> of the same image, for real software.</summary>
public sealed class RootfsEqualsUmociTests
{
    /// <summary>The largest takes half a minute more than all others; the gate has one of over 400 MB, of 26 layers, without it.</summary>
    public static IEnumerable<TheoryDataRow<string>> Images => SoftwareImages.All.Keys.Select(name =>
        name == LargeImages.OneLayer.Name ? new TheoryDataRow<string>(name) { Explicit = true }.WithTrait("Kind", "Soak") : new TheoryDataRow<string>(name));

    [Theory]
    [MemberData(nameof(Images))]
    public async Task Every_path_byte_and_attribute_is_what_umoci_unpacks(string name)
    {
        var cancellation = TestContext.Current.CancellationToken;
        var image = await SoftwareImages.All[name].BuildAsync(cancellation);
        await using var oracle = new UmociOracle();
        TreeComparer.AssertNone(await oracle.CompareAsync(image, image with { Tag = SoftwareImages.UmociTagOf(name) }, cancellationToken: cancellation));
    }
}
