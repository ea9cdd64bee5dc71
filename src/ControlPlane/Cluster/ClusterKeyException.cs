namespace Ravel.ControlPlane.Cluster;

/// <summary>The cluster's authority is there, but not for this server.</summary>
public sealed class ClusterKeyException(string message) : Exception(message);
