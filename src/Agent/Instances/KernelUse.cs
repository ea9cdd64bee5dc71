namespace Ravel.Agent.Instances;

/// <summary>Which kernels machines use, and which files of theirs. Pure.</summary>
internal static class KernelUse
{
    /// <summary>Digests, each once per machine: the kernels it names, and the one that its live instance booted.</summary>
    public static IEnumerable<string> Digests(IEnumerable<MachineRecord> machines) => machines.SelectMany(machine =>
        new[] { machine.Spec.Kernel, machine.Instance?.Spec.Kernel, BootedBy(machine)?.Digest }
            .OfType<string>().Where(digest => digest.Length > 0).Distinct());

    /// <summary>Files that live instances booted from.</summary>
    public static IReadOnlySet<string> Paths(IEnumerable<MachineRecord> machines) =>
        machines.Select(BootedBy).OfType<BootedKernel>().SelectMany(kernel => new[] { kernel.KernelPath, kernel.InitramfsPath }).ToHashSet(StringComparer.Ordinal);

    private static BootedKernel? BootedBy(MachineRecord machine) =>
        machine.Instance is { State: not (InstanceState.Ended or InstanceState.Destroying) } instance ? instance.Facts.Kernel : null;
}
