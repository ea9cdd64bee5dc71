using Microsoft.AspNetCore.Http;

namespace Ravel.Testing.Images;

/// <summary>One way of a registry to misbehave, and what has to come of it.</summary>
/// <param name="Name">As docs/images.md lists it.</param>
/// <param name="Code">The problem's code; null when the pull has to succeed all the same.</param>
/// <param name="Words">What its message has to say besides the image.</param>
/// <param name="AnswerAsync">Answers a request and returns true, or leaves it to the registry. Gets how often the path came before.</param>
public sealed record RegistryFault(string Name, string? Code, string Words, Func<FaultyRegistry, HttpContext, int, Task<bool>> AnswerAsync)
{
    /// <summary>Whether it keeps the client waiting, so that a test shortens its patience.</summary>
    public bool Stalls { get; init; }

    public override string ToString() => Name;
}
