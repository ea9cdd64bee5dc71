using Ravel.Agent.Joining;

namespace Ravel.Unit.Agent.Joining;

public sealed class ServerListTests
{
    private readonly ServerList _servers = new(new Random(1));

    [Fact]
    public void The_server_spoken_with_stays_when_others_come()
    {
        _servers.Update(["https://a"]);
        Assert.True(_servers.Update(["https://c", "https://b", "https://a"]));

        Assert.Equal("https://a", _servers.Current);
        Assert.Equal(3, _servers.Servers.Count);
    }

    [Fact]
    public void The_same_servers_in_another_order_are_no_news_and_none_at_all_are_not_believed()
    {
        _servers.Update(["https://a", "https://b"]);

        Assert.False(_servers.Update(["https://b", "https://a"]));
        Assert.False(_servers.Update([]));
        Assert.Equal(2, _servers.Servers.Count);
    }

    [Fact]
    public void One_that_fails_is_left_for_the_next_soon_and_all_that_fail_are_asked_less_often()
    {
        _servers.Update(["https://a", "https://b", "https://c"]);
        var asked = new List<string?>();
        var delays = new List<TimeSpan>();
        for (var i = 0; i < 30; i++)
        {
            asked.Add(_servers.Current);
            delays.Add(_servers.Failed());
        }

        Assert.Equal(3, asked.Take(3).Distinct().Count());
        Assert.All(delays.Take(3), delay => Assert.InRange(delay, TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(200)));
        Assert.All(delays.TakeLast(3), delay => Assert.InRange(delay, TimeSpan.FromSeconds(2.5), TimeSpan.FromSeconds(5)));
        _servers.Answered();
        Assert.True(_servers.Failed() <= TimeSpan.FromMilliseconds(200));
    }

    [Fact]
    public void A_server_that_is_taken_off_the_list_is_left()
    {
        _servers.Update(["https://a"]);
        _servers.Update(["https://b"]);

        Assert.Equal("https://b", _servers.Current);
    }
}
