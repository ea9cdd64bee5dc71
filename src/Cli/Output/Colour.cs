namespace Ravel.Cli.Output;

/// <summary>The few colours in use, by meaning: SGR parameters of ECMA-48.</summary>
internal enum Colour
{
    None = 0,
    Good = 32,
    Warning = 33,
    Bad = 31,
    Faint = 2,
}

/// <summary>Puts text into a colour, where there are colours.</summary>
internal static class Colours
{
    public static string Paint(this Colour colour, string text, bool enabled) =>
        enabled && colour != Colour.None ? $"\e[{(int)colour}m{text}\e[0m" : text;
}
