namespace Ravel.Vmm.Kernels;

/// <summary>A guest kernel that is not there, cannot be one, is in use, or could not be built.</summary>
public sealed class KernelException : Exception
{
    /// <param name="code">One of the API's problem codes.</param>
    /// <param name="message">One line for people, with the remedy.</param>
    /// <param name="inner">What went wrong below, if anything did.</param>
    public KernelException(string code, string message, Exception? inner = null)
        : base(message, inner)
    {
        Code = code;
    }

    public string Code { get; }
}
