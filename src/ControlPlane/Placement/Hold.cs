namespace Ravel.ControlPlane.Placement;

/// <summary>
/// Room on a node that this server has asked for, or is about to: counted in its view of the node until the node's own figures have it.
/// Changed by <see cref="Fleet"/> only, under its lock.
/// </summary>
internal sealed class Hold(string nodeId, in ResourceAmounts amounts, string appId)
{
    public string NodeId { get; set; } = nodeId;

    public ResourceAmounts Amounts { get; } = amounts;

    public string AppId { get; } = appId;

    /// <summary>When it was last put on a node; a timestamp of the clock.</summary>
    public long Since { get; set; }

    /// <summary>The node has spoken since: its figures are the truth, with this or without.</summary>
    public bool IsSettled { get; set; }
}
