namespace Ravel.Vmm;

/// <summary>
/// What a driver adds that can start guests as copies of one that was booted before. A template knows nothing of any tenant: it is
/// made from a guest that has had neither disk, network nor configuration.
/// </summary>
public interface IVmTemplates
{
    /// <summary>
    /// Equal for two VMs that can begin as the same template: a name for a file, of everything that is in its memory or has to be there to go on
    /// (VMM and its version, processor, kernel, initramfs, sizes, number and kind of devices).
    /// </summary>
    /// <exception cref="VmmException">Kernel or initramfs cannot be read, or there is no VMM.</exception>
    Task<string> KeyOfAsync(VmSpec spec, CancellationToken cancellationToken);

    /// <summary>Boots a guest and saves it as it waits for its configuration. Nothing of it is left but the files.</summary>
    /// <param name="spec">Id, run directory and control group of the guest to boot, and what the template is for: its drives and networks are not used.</param>
    /// <param name="directory">An empty one; on failure its content is of no use.</param>
    /// <param name="cancellationToken">Ends the guest.</param>
    /// <exception cref="VmmException">The guest did not come up, or could not be saved.</exception>
    Task BuildAsync(VmSpec spec, string directory, CancellationToken cancellationToken);
}
