using System.Globalization;
using Ravel.Vmm;
using Ravel.Vmm.Fake;

namespace Ravel.Testing.Vmm;

/// <summary>Workloads of the scripted guest (<see cref="FakeGuest"/>), shared by every VMM that runs one.</summary>
public abstract class ScriptedGuestHarness : VmmHarness
{
    public override IReadOnlyList<string> PrintLastDrives => ["print-drive", "1", ";", "print-drive", "2"];

    public override IReadOnlyList<string> RunForEver => ["sleep", "infinity"];

    protected override BootSource Boot
    {
        get
        {
            var kernel = Path.Combine(Files, "kernel");
            var initramfs = Path.Combine(Files, "initramfs");
            // An ELF header is all a fake VMM looks at.
            File.WriteAllBytes(kernel, [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1, 0]);
            File.WriteAllBytes(initramfs, []);
            return new BootSource(kernel, initramfs);
        }
    }

    public override IReadOnlyList<string> PrintAndExit(string words, int code) =>
        ["print", words, ";", "exit", code.ToString(CultureInfo.InvariantCulture)];

    public override IReadOnlyList<string> WriteConsole(int bytes) => ["console", bytes.ToString(CultureInfo.InvariantCulture)];

    protected override IReadOnlyList<Drive> NewDrives(int number)
    {
        var root = Path.Combine(Files, "root.img");
        File.WriteAllBytes(root, new byte[4096]);
        return [new Drive("root", root, ReadOnly: true), .. MarkedDrives(number)];
    }
}

public sealed class FakeVmmHarness : ScriptedGuestHarness
{
    private readonly FakeVmmDriver _driver = new();

    public override IVmmDriver Driver => _driver;

    public override IReadOnlyList<string> Leftovers(VmSpec spec) =>
        [.. _driver.Vms.Keys.Where(id => id == spec.Id), .. Directory.EnumerateFileSystemEntries(spec.RunDirectory)];
}
