using Ravel.Images;
using Ravel.Images.Store;

namespace Ravel.Unit.Images;

public sealed class CollectionRuleTests
{
    [Fact]
    public void Nothing_goes_while_all_fits() => Assert.Empty(Choose(30, [], Image("a", 10), Image("b", 20)));

    [Fact]
    public void What_was_not_used_for_longest_goes_first_and_no_more_than_it_takes() =>
        Assert.Equal(["a", "b"], Choose(25, [], Image("c", 10, age: 1), Image("a", 10, age: 3), Image("b", 10, age: 2), Image("d", 10)));

    [Fact]
    public void What_is_in_use_or_came_from_a_file_stays_even_over_the_limit() =>
        Assert.Equal(["c"], Choose(1, ["a"], Image("a", 10, age: 3), Image("b", 10, age: 2) with { IsImported = true }, Image("c", 10, age: 1)));

    private static IEnumerable<string> Choose(long limit, string[] inUse, params StoredEntry[] images) =>
        CollectionRule.Choose(images, limit, inUse.Contains).Select(image => image.Record.ManifestDigest);

    private static StoredEntry Image(string digest, long bytes, int age = 0) =>
        new(new StoredRecord(digest, bytes, "", [], new ImageConfig(), DateTimeOffset.UnixEpoch)) { LastUsed = DateTimeOffset.UnixEpoch.AddDays(100 - age) };
}
