using CsCheck;
using Ravel.GuestInit;
using Ravel.GuestInit.Processes;

namespace Ravel.Unit.GuestInit;

public sealed class UserLookupTests
{
    private const string Passwd = "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n1002:x:7:8::/odd:/bin/sh\nshort:x:55:66\n";
    private const string Group = "root:x:0:\nwheel:x:10:root,app\napp:x:1001:\nextra:x:2000:app\nbroken\n77:x:78:\n";

    private static ResolvedUser Resolve(string user) => UserLookup.Resolve(user, Passwd, Group);

    [Theory]
    [InlineData("", 0, 0, "0,10", "/root")]
    [InlineData("root", 0, 0, "0,10", "/root")]
    [InlineData("app", 1000, 1001, "1001,10,2000", "/home/app")]
    [InlineData("1000", 1000, 1001, "1001,10,2000", "/home/app")]
    [InlineData("app:extra", 1000, 2000, "2000", "/home/app")]
    [InlineData("app:5", 1000, 5, "5", "/home/app")]
    [InlineData("1000:1000", 1000, 1000, "1000", "/home/app")]
    [InlineData("4242", 4242, 0, "0", "/")]
    [InlineData("4242:4343", 4242, 4343, "4343", "/")]
    [InlineData(":10", 0, 10, "10", "/root")]
    [InlineData("short", 55, 66, "66", "/")]
    [InlineData("1002", 7, 8, "8", "/odd")]
    [InlineData("app:77", 1000, 78, "78", "/home/app")]
    public void Users_are_resolved_as_docker_does(string user, uint userId, uint groupId, string groups, string home)
    {
        var resolved = Resolve(user);
        Assert.Equal((userId, groupId, groups, home), (resolved.UserId, resolved.GroupId, string.Join(',', resolved.Groups), resolved.Home));
    }

    [Theory]
    [InlineData("nobody-here")]
    [InlineData("app:no-such-group")]
    [InlineData("-1")]
    [InlineData("4294967295")]
    [InlineData("99999999999")]
    public void A_name_that_is_in_no_file_is_a_set_up_failure(string user) =>
        Assert.Equal(125, Assert.Throws<SetupException>(() => Resolve(user)).ExitCode);

    [Fact]
    public void Without_any_files_numbers_still_work() =>
        Assert.Equal((5u, 6u, "/"), UserLookup.Resolve("5:6", "", "") is var r ? (r.UserId, r.GroupId, r.Home) : default);

    [Fact]
    public void Whatever_an_image_has_in_its_files_the_answer_is_a_user_or_a_refusal() =>
        Gen.Select(Gen.String[Gen.Char["root:x0123\n,-é"], 0, 200], Gen.String[Gen.Char["root:x0123\n,-é"], 0, 200], Gen.String[Gen.Char["rot:0123x"], 0, 8])
            .Sample((passwd, group, user) =>
            {
                try
                {
                    Assert.StartsWith("", UserLookup.Resolve(user, passwd, group).Home, StringComparison.Ordinal);
                }
                catch (SetupException e)
                {
                    Assert.Equal(125, e.ExitCode);
                }
            });
}
