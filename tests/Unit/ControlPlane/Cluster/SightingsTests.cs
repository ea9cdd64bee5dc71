using Microsoft.Extensions.Time.Testing;
using Ravel.ControlPlane.Cluster;

namespace Ravel.Unit.ControlPlane.Cluster;

public sealed class SightingsTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly Sightings _sightings;

    public SightingsTests() => _sightings = new Sightings(_time, TimeSpan.FromSeconds(10));

    [Fact]
    public void Someone_is_here_while_their_number_grows()
    {
        for (var beat = 0; beat < 20; beat++)
            Read(2, ("a", beat));

        Assert.True(_sightings.IsHere("a"));
    }

    [Fact]
    public void Someone_whose_number_stays_the_same_is_away_after_ten_seconds_and_back_when_it_grows()
    {
        Read(0, ("a", 1));
        for (var i = 0; i < 4; i++)
            Read(2, ("a", 1));
        Assert.True(_sightings.IsHere("a"));

        Read(2, ("a", 1));
        Assert.False(_sightings.IsHere("a"));

        Read(2, ("a", 2));
        Assert.True(_sightings.IsHere("a"));
    }

    [Fact]
    public void A_database_that_was_away_for_an_hour_makes_nobody_vanish()
    {
        Read(0, ("a", 1));
        Read(2, ("a", 1));

        Read(3600, ("a", 1));

        Assert.True(_sightings.IsHere("a"));
    }

    [Fact]
    public void Who_was_taken_out_is_not_known_any_more()
    {
        Read(0, ("a", 1), ("b", 1));
        Read(2, ("b", 2));

        Assert.Null(_sightings.SilenceOf("a"));
        Assert.False(_sightings.IsHere("a"));
        Assert.True(_sightings.IsHere("b"));
    }

    private void Read(double secondsLater, params (string Id, long Beat)[] beats)
    {
        _time.Advance(TimeSpan.FromSeconds(secondsLater));
        _sightings.Read(beats.Select(b => KeyValuePair.Create(b.Id, b.Beat)));
    }
}
