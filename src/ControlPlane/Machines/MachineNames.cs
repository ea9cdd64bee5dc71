using System.Security.Cryptography;

namespace Ravel.ControlPlane.Machines;

/// <summary>Names for machines whose owner gave none: <c>quiet-harbor-4821</c>.</summary>
internal static class MachineNames
{
    private static readonly string[] Adjectives =
    [
        "aged", "amber", "autumn", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cold", "cool", "crisp", "damp",
        "dark", "dawn", "deep", "dry", "eager", "early", "fair", "fresh", "gentle", "golden", "green", "hidden", "keen", "late",
        "light", "little", "lively", "long", "lucky", "mild", "misty", "noble", "old", "pale", "patient", "plain", "polished",
        "proud", "quick", "quiet", "rapid", "rough", "round", "silent", "small", "snowy", "soft", "solid", "steady", "still",
        "summer", "swift", "tall", "tidy", "warm", "wild", "winter", "wise", "young", "zesty",
    ];

    private static readonly string[] Nouns =
    [
        "bay", "bird", "breeze", "bridge", "brook", "bush", "canyon", "cliff", "cloud", "coast", "comet", "creek", "dew", "dune",
        "dust", "ember", "feather", "fern", "field", "fire", "flower", "fog", "forest", "frost", "glade", "grass", "harbor", "haze",
        "hill", "island", "lake", "lantern", "leaf", "meadow", "moon", "moss", "mountain", "night", "ocean", "orchard", "path",
        "pebble", "pine", "pond", "rain", "reef", "ridge", "river", "sea", "shadow", "shore", "sky", "snow", "spring", "star",
        "stone", "storm", "stream", "sun", "thunder", "tree", "valley", "wave", "wind",
    ];

    public static string New() =>
        $"{Pick(Adjectives)}-{Pick(Nouns)}-{RandomNumberGenerator.GetInt32(1000, 10000)}";

    private static string Pick(string[] words) => words[RandomNumberGenerator.GetInt32(words.Length)];
}
