using Ravel.Images;

namespace Ravel.Testing.Images.Fuzzing;

/// <summary>Something that reads a stranger's bytes.</summary>
public abstract class FuzzTarget
{
    /// <summary>For reports and for the corpus' directory.</summary>
    public abstract string Name { get; }

    /// <summary>Valid inputs, from which all others are made.</summary>
    public abstract IReadOnlyList<byte[]> Seeds { get; }

    /// <summary>Managed bytes that reading one input may allocate, besides some for each of its own bytes.</summary>
    public virtual long MaxAllocation => 24L << 20;

    /// <summary>An input made from <paramref name="input"/> and, where the mutator splices, from others of the pool.</summary>
    public abstract byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool);

    /// <summary>Reads one input.</summary>
    /// <returns>What was read, in few words: inputs of an outcome not seen before become seeds themselves.</returns>
    /// <exception cref="ImageException">A refusal, which is as good. Everything else that is thrown is a finding.</exception>
    public abstract string Read(byte[] input);
}
