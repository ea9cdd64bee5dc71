namespace Ravel.Agent.Guests;

/// <summary>An instance that cannot be as it shall be, for a reason its owner can mend.</summary>
internal sealed class InstanceException(string code, string message) : Exception(message)
{
    /// <summary>One of the API's problem codes.</summary>
    public string Code { get; } = code;
}
