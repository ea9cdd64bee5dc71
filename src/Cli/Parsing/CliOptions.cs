using System.CommandLine;
using System.CommandLine.Parsing;

namespace Ravel.Cli.Parsing;

/// <summary>Makes options and arguments that refuse with one line and complete with what is there.</summary>
internal static class CliOptions
{
    /// <summary>A switch without a value.</summary>
    public static Option<bool> Flag(string name, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, Arity = ArgumentArity.Zero };

    public static Option<string?> Text(string name, string valueName, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, HelpName = valueName, Arity = ArgumentArity.ExactlyOne };

    /// <summary>An option that may be given again and again.</summary>
    public static Option<string[]> Texts(string name, string valueName, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, HelpName = valueName, Arity = new ArgumentArity(1, 1000), DefaultValueFactory = _ => [] };

    /// <summary>An option read by a parser that throws <see cref="FormatException"/>.</summary>
    public static Option<T?> Parsed<T>(string name, string valueName, string description, Func<string, T> parse, params string[] aliases) =>
        new(name, aliases)
        {
            Description = description,
            HelpName = valueName,
            Arity = ArgumentArity.ExactlyOne,
            CustomParser = result => Read(result, name, parse),
        };

    /// <summary>The same for an option that may be repeated.</summary>
    public static Option<T[]> ParsedMany<T>(string name, string valueName, string description, Func<string, T> parse, params string[] aliases) =>
        new(name, aliases)
        {
            Description = description,
            HelpName = valueName,
            Arity = new ArgumentArity(1, 1000),
            DefaultValueFactory = _ => [],
            CustomParser = result => ReadMany(result, name, parse),
        };

    public static Option<string?> OneOf(string name, string description, params string[] values)
    {
        var option = Parsed<string?>(
            name,
            string.Join('|', values),
            description,
            text => values.Contains(text) ? text : throw new FormatException($"'{text}' is none of {string.Join(", ", values)}"));
        option.CompletionSources.Add(values);
        return option;
    }

    private static T? Read<T>(ArgumentResult result, string name, Func<string, T> parse)
    {
        try
        {
            return parse(result.Tokens[0].Value);
        }
        catch (FormatException e)
        {
            result.AddError($"{name}: {e.Message}");
            return default;
        }
    }

    private static T[] ReadMany<T>(ArgumentResult result, string name, Func<string, T> parse)
    {
        var values = new List<T>();
        foreach (var token in result.Tokens)
        {
            try
            {
                values.Add(parse(token.Value));
            }
            catch (FormatException e)
            {
                result.AddError($"{name}: {e.Message}");
                return [];
            }
        }
        return [.. values];
    }
}
