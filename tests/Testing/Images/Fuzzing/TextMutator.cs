using System.Text;
using System.Text.RegularExpressions;

namespace Ravel.Testing.Images.Fuzzing;

/// <summary>Changes JSON and other text by its words: exchanges, repeats, drops and moves strings, numbers, braces and pairs.</summary>
internal static partial class TextMutator
{
    private static readonly string[] General =
    [
        "null", "true", "{}", "[]", "\"\"", "0", "-1", "1e400", "-0", "9223372036854775807", "9223372036854775808", "1.5",
        "123456789012345678901234567890", "\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\n\\u001b[31m\"", "\"\\u202e\"", "\"../../etc/passwd\"", "\"\\\"", "[[[[[[[[", "{\"a\":",
        ",", ":", "{", "}", "[", "]", "\"", "\u00ff", "\0", "//", "NaN", "\r\n",
    ];

    public static byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool, IReadOnlyList<string> words)
    {
        // Latin-1 keeps every byte, so that broken UTF-8 can be made and kept.
        var tokens = Tokens(input);
        for (var changes = 1 << random.Next(4); changes > 0; changes--)
        {
            if (tokens.Count == 0)
                tokens.Add("{}");
            var at = random.Next(tokens.Count);
            var length = Math.Min(tokens.Count - at, random.Next(1, 12));
            switch (random.Next(8))
            {
                case 0:
                    tokens[at] = ByteMutator.Pick(random, General);
                    break;
                case 1:
                    tokens[at] = ByteMutator.Pick(random, words);
                    break;
                case 2:
                    tokens.RemoveRange(at, length);
                    break;
                case 3:
                    tokens.InsertRange(random.Next(tokens.Count + 1), tokens.GetRange(at, length));
                    break;
                case 4:
                    // The pair of a key and its value, a second time.
                    tokens.InsertRange(at, [",", .. tokens.GetRange(at, Math.Min(length, 3))]);
                    break;
                case 5:
                    (tokens[at], tokens[^1]) = (tokens[^1], tokens[at]);
                    break;
                case 6:
                    var other = Tokens(ByteMutator.Pick(random, pool));
                    var from = random.Next(other.Count + 1);
                    tokens.InsertRange(at, other.GetRange(from, Math.Min(other.Count - from, length)));
                    break;
                default:
                    var text = ByteMutator.Mutate(random, Encoding.Latin1.GetBytes(tokens[at]), pool, []);
                    tokens[at] = Encoding.Latin1.GetString(text.AsSpan(0, Math.Min(text.Length, 4096)));
                    break;
            }
        }
        return Encoding.Latin1.GetBytes(string.Concat(tokens));
    }

    private static List<string> Tokens(byte[] input) =>
        [.. Token().Matches(Encoding.Latin1.GetString(input)).Select(match => match.Value)];

    [GeneratedRegex("\"(?:[^\"\\\\]|\\\\.)*\"|[A-Za-z0-9_.+-]+|.", RegexOptions.Singleline)]
    private static partial Regex Token();
}
