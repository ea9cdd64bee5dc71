using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane;

/// <summary>The one rule for names of namespaces, apps, machines and tokens: they become host names.</summary>
internal static class Names
{
    public const int MaxLength = 63;

    /// <exception cref="ProblemException">Names the field and the rule.</exception>
    public static void Check(string field, string? name)
    {
        if (!IsValid(name))
        {
            throw ProblemException.Invalid(
                $"{field} must be 1 to {MaxLength} lower-case letters, digits and '-', beginning and ending with a letter or digit.");
        }
    }

    public static bool IsValid(string? name)
    {
        if (name is null || name.Length is 0 or > MaxLength || name[0] == '-' || name[^1] == '-')
            return false;
        foreach (var c in name)
        {
            if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c != '-')
                return false;
        }
        return true;
    }
}
