namespace Ravel.Vmm.Fake;

/// <summary>What goes wrong with a launch of <see cref="FakeVmmDriver"/>; nothing by default.</summary>
public sealed record FakeVmmFaults
{
    /// <summary>The launch fails with these words.</summary>
    public string? LaunchFailure { get; init; }

    /// <summary>Saved memory is refused with these words.</summary>
    public string? RestoreFailure { get; init; }

    /// <summary>The launch returns only when cancelled.</summary>
    public bool LaunchHangs { get; init; }

    /// <summary>The VMM runs, but its guest never says a word.</summary>
    public bool LinkIsSilent { get; init; }

    /// <summary>The guest answers what the host says with the same, which is no guest's part of the protocol.</summary>
    public bool LinkIsGarbage { get; init; }

    /// <summary>The VMM is gone right after the launch returned.</summary>
    public bool DiesAfterLaunch { get; init; }

    /// <summary>The VMM is not found again.</summary>
    public bool RecoverFindsNothing { get; init; }

    /// <summary>A kill is lost until cancelled, as with a process in uninterruptible sleep.</summary>
    public bool KillHangs { get; init; }
}
