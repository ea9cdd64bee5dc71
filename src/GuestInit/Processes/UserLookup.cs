using System.Globalization;

namespace Ravel.GuestInit.Processes;

/// <summary>Who a process runs as.</summary>
internal sealed record ResolvedUser(uint UserId, uint GroupId, IReadOnlyList<uint> Groups, string Home);

/// <summary>
/// Resolves an image's user as Docker does: <c>user</c>, <c>uid</c>, <c>user:group</c>, <c>uid:gid</c>. Numbers need no entry; a group
/// that is named replaces the supplementary ones. The own group is always one of these: files that are closed to a group stay closed to
/// a process whose set-group-ID program changed the own one.
/// </summary>
internal static class UserLookup
{
    private const string DefaultHome = "/";

    private sealed record Account(string Name, uint UserId, uint GroupId, string Home);

    /// <exception cref="SetupException">A name that is in no file.</exception>
    public static ResolvedUser Resolve(string user, string passwd, string group)
    {
        var colon = user.IndexOf(':');
        var userPart = colon < 0 ? user : user[..colon];
        var groupPart = colon < 0 ? "" : user[(colon + 1)..];
        if (userPart.Length == 0)
            userPart = "0";

        var account = FindAccount(userPart, passwd);
        uint userId;
        if (account is not null)
            userId = account.UserId;
        else if (!TryParseId(userPart, out userId))
            throw new SetupException(SetupException.SetupFailed, $"user {userPart} is not in the image's /etc/passwd");

        var home = account is { Home.Length: > 0 } ? account.Home : DefaultHome;
        if (groupPart.Length > 0)
        {
            var named = FindGroup(groupPart, group);
            return new ResolvedUser(userId, named, [named], home);
        }
        var own = account?.GroupId ?? 0;
        return new ResolvedUser(userId, own, account is null ? [own] : [own, .. GroupsOf(account.Name, group).Where(id => id != own)], home);
    }

    private static Account? FindAccount(string user, string passwd)
    {
        Account? byNumber = null;
        var isNumber = TryParseId(user, out var wanted);
        foreach (var line in passwd.Split('\n'))
        {
            // name:password:uid:gid:comment:home:shell (passwd(5))
            var fields = line.TrimEnd('\r').Split(':');
            if (fields.Length < 4 || !TryParseId(fields[2], out var id) || !TryParseId(fields[3], out var groupId))
                continue;
            var account = new Account(fields[0], id, groupId, fields.Length > 5 ? fields[5] : "");
            if (account.Name == user)
                return account;
            if (isNumber && id == wanted)
                byNumber ??= account;
        }
        return byNumber;
    }

    private static uint FindGroup(string group, string groups)
    {
        foreach (var (name, id, _) in Groups(groups))
        {
            if (name == group)
                return id;
        }
        return TryParseId(group, out var number)
            ? number
            : throw new SetupException(SetupException.SetupFailed, $"group {group} is not in the image's /etc/group");
    }

    private static List<uint> GroupsOf(string user, string groups)
    {
        const int MaxGroups = 65536;
        var ids = new List<uint>();
        foreach (var (_, id, members) in Groups(groups))
        {
            if (ids.Count < MaxGroups && Array.IndexOf(members, user) >= 0)
                ids.Add(id);
        }
        return ids;
    }

    private static IEnumerable<(string Name, uint Id, string[] Members)> Groups(string text)
    {
        foreach (var line in text.Split('\n'))
        {
            // name:password:gid:member,member (group(5))
            var fields = line.TrimEnd('\r').Split(':');
            if (fields.Length >= 3 && TryParseId(fields[2], out var id))
                yield return (fields[0], id, fields.Length > 3 ? fields[3].Split(',') : []);
        }
    }

    private static bool TryParseId(string text, out uint id) =>
        uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out id) && id != uint.MaxValue;
}
