namespace Ravel.ControlPlane.Administration;

/// <summary>Why a database was not backed up, restored or moved; nothing of it was changed. One line, with the remedy.</summary>
public sealed class AdministrationException(string message, Exception? inner = null) : Exception(message, inner);
