namespace Ravel.Testing.Leaks;

/// <summary>Something of the host that a test may have made and has to take away again.</summary>
/// <param name="Kind">What it is, for people.</param>
/// <param name="Name">What tells it from others of its kind; equal before and after for what stayed.</param>
/// <param name="Detail">More for people, not compared.</param>
public sealed record HostResource(HostResourceKind Kind, string Name, string Detail = "")
{
    public bool Equals(HostResource? other) => other is not null && Kind == other.Kind && Name == other.Name;

    public override int GetHashCode() => HashCode.Combine(Kind, Name);

    public override string ToString() => Detail.Length == 0 ? $"{Kind}: {Name}" : $"{Kind}: {Name} ({Detail})";
}

public enum HostResourceKind
{
    Process,
    NetworkInterface,
    NetworkNamespace,
    NftTable,
    Mount,
    Cgroup,
    LoopDevice,
    RunDirectory,
}
