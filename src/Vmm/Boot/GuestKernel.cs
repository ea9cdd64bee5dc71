namespace Ravel.Vmm.Boot;

/// <summary>A kernel for guests.</summary>
/// <param name="Release">As in its file names, e.g. <c>6.1.0-56-cloud-amd64</c>.</param>
/// <param name="Path">bzImage, or an uncompressed ELF.</param>
/// <param name="ModulesDirectory">Where its modules are, at any depth; null when it has everything built in.</param>
public sealed record GuestKernel(string Release, string Path, string? ModulesDirectory);
