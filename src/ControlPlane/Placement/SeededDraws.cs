namespace Ravel.ControlPlane.Placement;

/// <summary>
/// Random numbers that are the same for the same seed on every machine and version of .NET (which <see cref="Random"/> does not
/// promise). The generator is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
/// </summary>
internal struct SeededDraws(ulong seed)
{
    /// <summary>Distance of the states of two draws; seeds that far apart share a sequence, so seeds are mixed before use.</summary>
    private const ulong Step = 0x9E3779B97F4A7C15;

    private ulong _state = Mix(seed);

    /// <summary>The seed of one machine among many that are planned as one. The first has the seed itself.</summary>
    public static ulong SeedOf(ulong seed, int machine) => seed + (ulong)machine;

    /// <summary>A seed from a text (FNV-1a): the same everywhere, unlike hash codes of strings.</summary>
    public static ulong SeedOf(string text)
    {
        var hash = 0xCBF29CE484222325;
        foreach (var c in text)
            hash = (hash ^ c) * 0x100000001B3;
        return Mix(hash);
    }

    public ulong Next() => Mix(_state += Step);

    /// <summary>Evenly from 0 to below a limit above 0.</summary>
    public int Below(int limit) => (int)Math.BigMul(Next(), (ulong)limit, out _);

    /// <summary>Evenly in (0, 1].</summary>
    public double Fraction() => ((Next() >> 11) + 1) * (1.0 / (1UL << 53));

    public static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }
}
