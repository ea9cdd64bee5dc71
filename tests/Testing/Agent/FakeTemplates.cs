using System.Globalization;
using Ravel.Vmm;
using Ravel.Vmm.Fake;

namespace Ravel.Testing.Agent;

/// <summary>The fake driver with templates: a file each, of no content. A guest that begins as one is one that boots.</summary>
public sealed class FakeTemplates(FakeVmmDriver driver) : IVmmDriver, IVmTemplates
{
    private const string Content = "content";

    public string Name => driver.Name;

    /// <summary>Ids of the VMs that were launched, with a * where they began as a template.</summary>
    public List<string> Launches { get; } = [];

    /// <summary>How many templates were begun.</summary>
    public int Builds { get; private set; }

    /// <summary>What happens while one is made.</summary>
    public Func<CancellationToken, Task> Building { get; set; } = _ => Task.CompletedTask;

    public Task<VmmProbe> ProbeAsync(CancellationToken cancellationToken) => driver.ProbeAsync(cancellationToken);

    public async Task<IVmm> LaunchAsync(VmSpec spec, CancellationToken cancellationToken)
    {
        if (spec.Template is { } template && !File.Exists(Path.Combine(template.Directory, Content)))
            throw new VmmException($"template {template.Directory} is damaged");
        var vmm = await driver.LaunchAsync(spec with { Template = null }, cancellationToken);
        Launches.Add(spec.Template is null ? spec.Id : spec.Id + "*");
        return vmm;
    }

    public Task<IVmm?> RecoverAsync(VmmRecord record, CancellationToken cancellationToken) => driver.RecoverAsync(record, cancellationToken);

    public Task PurgeAsync(string id, string runDirectory, CancellationToken cancellationToken) => driver.PurgeAsync(id, runDirectory, cancellationToken);

    public Task<string> KeyOfAsync(VmSpec spec, CancellationToken cancellationToken) =>
        Task.FromResult(string.Create(CultureInfo.InvariantCulture, $"{spec.Cpus}-{spec.MemoryMib}"));

    public async Task BuildAsync(VmSpec spec, string directory, CancellationToken cancellationToken)
    {
        Builds++;
        await Building(cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(directory, Content), "", cancellationToken);
    }
}
