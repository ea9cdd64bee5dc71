namespace Ravel.Testing.Cluster.Bed;

/// <summary>What a bed has.</summary>
public sealed record TestBedOptions
{
    public int Servers { get; init; } = 2;

    public int Hosts { get; init; } = 2;

    /// <summary>Of all hosts. <c>fake</c> runs no virtual machine: workloads are the verbs of its <c>FakeProcess</c>, within raveld.</summary>
    public string Vmm { get; init; } = "fake";

    /// <summary>Whether the servers can be called from the network namespace that the bed is made in.</summary>
    public bool IsReachable { get; init; }

    /// <summary>Where data directories are, gone at the end; null: below the directory of temporary files.</summary>
    public string? Directory { get; init; }

    /// <summary>Further options of <c>raveld server</c>.</summary>
    public IReadOnlyList<string> ServerOptions { get; init; } = [];

    /// <summary>Further options of <c>raveld agent</c>.</summary>
    public IReadOnlyList<string> AgentOptions { get; init; } = [];
}
