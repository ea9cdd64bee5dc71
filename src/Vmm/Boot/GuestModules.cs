namespace Ravel.Vmm.Boot;

/// <summary>When the guest's init loads a module.</summary>
public enum ModuleStage
{
    /// <summary>At start: what finds the devices, and the port the link usually runs over.</summary>
    Link,

    /// <summary>At start, if no such port is there: vsock.</summary>
    Vsock,

    /// <summary>
    /// Once it is configured. A guest saved before that can become any machine: its disks and network are probed after it was restored.
    /// </summary>
    Machine,
}

/// <summary>A kernel module by the name it has in /proc/modules.</summary>
public sealed record GuestModule(string Name, ModuleStage Stage);

/// <summary>
/// The modules a guest needs, each behind those it depends on. A kernel that has some built in ships no file for them.
/// </summary>
public static class GuestModules
{
    public static IReadOnlyList<GuestModule> InLoadOrder { get; } =
    [
        new("virtio_ring", ModuleStage.Link),
        new("virtio", ModuleStage.Link),
        new("virtio_mmio", ModuleStage.Link),
        new("virtio_console", ModuleStage.Link),
        new("vsock", ModuleStage.Vsock),
        new("vmw_vsock_virtio_transport_common", ModuleStage.Vsock),
        new("vmw_vsock_virtio_transport", ModuleStage.Vsock),
        new("virtio_blk", ModuleStage.Machine),
        new("failover", ModuleStage.Machine),
        new("net_failover", ModuleStage.Machine),
        new("virtio_net", ModuleStage.Machine),
        new("libcrc32c", ModuleStage.Machine),
        new("erofs", ModuleStage.Machine),
        new("overlay", ModuleStage.Machine),
    ];
}
