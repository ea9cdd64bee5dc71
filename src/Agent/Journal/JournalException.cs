namespace Ravel.Agent.Journal;

/// <summary>The journal cannot be opened or written. One line that names it and the remedy.</summary>
public class JournalException : Exception
{
    public JournalException(string message)
        : base(message)
    {
    }

    public JournalException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

/// <summary>No room on the disk for the journal; nothing was written.</summary>
public sealed class JournalFullException(string message, Exception inner) : JournalException(message, inner);
