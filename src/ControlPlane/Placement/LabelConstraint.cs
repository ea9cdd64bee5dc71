namespace Ravel.ControlPlane.Placement;

/// <summary>What a constraint asks of a label.</summary>
internal enum LabelOperator
{
    /// <summary>The label is there with one of the values.</summary>
    In,

    /// <summary>The label is not there, or has none of the values.</summary>
    NotIn,

    /// <summary>The label is there.</summary>
    Exists,
}

/// <summary>
/// One condition on a node's labels: <c>disk=ssd</c>, <c>disk!=hdd</c>, <c>disk in (ssd, nvme)</c> or <c>gpu</c>.
/// </summary>
internal sealed record LabelConstraint(string Key, LabelOperator Operator, IReadOnlyList<string> Values)
{
    /// <summary>Of the text of one constraint; keys and values are as long as names in Kubernetes.</summary>
    public const int MaxLength = 1024;

    private const int MaxKey = 253;
    private const int MaxValue = 63;
    private const int MaxValues = 32;

    /// <returns>Null, with what is wrong, if it is not one of the four forms.</returns>
    public static LabelConstraint? TryParse(string text, out string problem)
    {
        problem = "";
        if (text.Length > MaxLength)
        {
            problem = $"a constraint may have {MaxLength} characters";
            return null;
        }
        var parsed = Split(text.Trim());
        if (!IsName(parsed.Key, MaxKey))
            problem = $"'{text}' is none of key, key=value, key!=value, key in (a, b)";
        else if (parsed.Operator != LabelOperator.Exists && parsed.Values.Count is 0 or > MaxValues)
            problem = $"'{text}' must have 1 to {MaxValues} values";
        else if (parsed.Values.FirstOrDefault(value => value.Length > 0 && !IsName(value, MaxValue)) is { } wrong)
            problem = $"'{wrong}' is no value of a label: letters, digits, '.', '-' and '_', at most {MaxValue}";
        return problem.Length == 0 ? parsed : null;
    }

    public bool Holds(IReadOnlyDictionary<string, string> labels)
    {
        var value = labels.GetValueOrDefault(Key);
        return Operator switch
        {
            LabelOperator.In => value is not null && Values.Contains(value, StringComparer.Ordinal),
            LabelOperator.NotIn => value is null || !Values.Contains(value, StringComparer.Ordinal),
            _ => value is not null,
        };
    }

    public bool Equals(LabelConstraint? other) =>
        other is not null && Key == other.Key && Operator == other.Operator && Values.SequenceEqual(other.Values);

    public override int GetHashCode() => HashCode.Combine(Key, Operator, Values.Count);

    private static LabelConstraint Split(string text)
    {
        var unequal = text.IndexOf("!=", StringComparison.Ordinal);
        if (unequal >= 0)
            return new(text[..unequal].Trim(), LabelOperator.NotIn, [text[(unequal + 2)..].Trim()]);
        var open = text.IndexOf(" in (", StringComparison.Ordinal);
        if (open >= 0 && text.EndsWith(')'))
        {
            var values = text[(open + " in (".Length)..^1].Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
            return new(text[..open].Trim(), LabelOperator.In, values);
        }
        var equal = text.IndexOf('=', StringComparison.Ordinal);
        return equal >= 0
            ? new(text[..equal].Trim(), LabelOperator.In, [text[(equal + 1)..].Trim()])
            : new(text, LabelOperator.Exists, []);
    }

    private static bool IsName(string text, int max) =>
        text.Length > 0 && text.Length <= max && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_' or '/');
}
