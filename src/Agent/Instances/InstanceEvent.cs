using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable.Workflows;
using Ravel.Vmm;

namespace Ravel.Agent.Instances;

/// <summary>Something that happened to a machine or its instance.</summary>
internal abstract record InstanceEvent
{
    /// <summary>The server stated what the machine shall be.</summary>
    internal sealed record Put(MachineId Machine, ulong Generation, DesiredState Desired, MachineSpec Spec, bool Force) : InstanceEvent
    {
        /// <summary>Of a destruction: the machine goes on elsewhere.</summary>
        public bool IsMoved { get; init; }
    }

    /// <summary>A step of the start was done; <paramref name="Next"/> is null after the last.</summary>
    internal sealed record StepDone(WorkflowPosition? Next, StartFacts Facts) : InstanceEvent;

    /// <summary>The start failed or was cancelled at <paramref name="Next"/>.</summary>
    internal sealed record StartFailed(WorkflowPosition Next, StartFacts Facts, InstanceProblem? Problem) : InstanceEvent
    {
        /// <summary>The VMM does not take the saved memory, now and later.</summary>
        public bool IsMemoryRefused { get; init; }
    }

    /// <summary>A step was undone; <paramref name="Next"/> is null when nothing of the instance is left.</summary>
    internal sealed record StepUndone(WorkflowPosition? Next) : InstanceEvent;

    /// <summary>The paused guest's memory is on the disk, whole.</summary>
    internal sealed record Saved(VmSnapshot Memory) : InstanceEvent;

    /// <summary>The guest's memory could not be saved; it runs on.</summary>
    internal sealed record SaveFailed : InstanceEvent;

    /// <summary>The guest says its workload runs.</summary>
    internal sealed record GuestStarted : InstanceEvent;

    /// <summary>The guest could not start the workload.</summary>
    internal sealed record GuestFailed(int ExitCode, string Message) : InstanceEvent;

    /// <summary>The workload ended and all it printed is in the log.</summary>
    internal sealed record GuestExited(int ExitCode, int Signal, bool IsOomKilled) : InstanceEvent;

    /// <summary>The guest broke the protocol.</summary>
    internal sealed record GuestBroken(string Message) : InstanceEvent;

    /// <summary>The VMM is gone.</summary>
    internal sealed record VmmExited(string Detail) : InstanceEvent;

    /// <summary>Time passed; means something only when the deadline has.</summary>
    internal sealed record Tick : InstanceEvent;

    /// <summary>The node goes down and takes its instances along; none may take longer than <paramref name="Limit"/> to end.</summary>
    internal sealed record NodeStopping(TimeSpan Limit) : InstanceEvent;

    /// <summary>The agent is up and has taken over what it found.</summary>
    internal sealed record NodeStarted : InstanceEvent;

    /// <summary>
    /// The agent is up and nobody has said yet which of its machines went elsewhere meanwhile: what was about to begin waits for
    /// <see cref="NodeStarted"/>.
    /// </summary>
    internal sealed record Held : InstanceEvent;

    /// <summary>The host was restarted since the journal was last written: no VMM of before lives.</summary>
    internal sealed record HostRebooted : InstanceEvent;

    /// <summary>Disk and logs of a destroyed machine are gone.</summary>
    internal sealed record Removed : InstanceEvent;
}

/// <summary>What has to be done after a transition was committed.</summary>
internal enum InstanceEffect
{
    /// <summary>Run the start workflow from the recorded position, in its direction.</summary>
    RunWorkflow,

    /// <summary>Turn the running start workflow around.</summary>
    CancelStart,

    /// <summary>Watch the VMM, keep a link to its guest and configure it.</summary>
    Attend,

    /// <summary>Have the VMM and the host keep to the limits of today.</summary>
    Limit,

    /// <summary>Let go of the guest, stop its CPUs and save its memory.</summary>
    Save,

    /// <summary>Ask the workload to end.</summary>
    AskStop,

    /// <summary>Tell the guest that its exit is recorded.</summary>
    PowerOff,

    /// <summary>Remove disk and logs of the machine.</summary>
    Remove,
}

/// <param name="Next">The new record; null when the machine is forgotten.</param>
/// <param name="Effects">In order, after the commit.</param>
/// <param name="Reports">Types of the events for the server, committed with the record.</param>
/// <param name="Refusal">Why nothing changes; the other members mean nothing then.</param>
internal sealed record Decision(
    MachineRecord? Next,
    IReadOnlyList<InstanceEffect> Effects,
    IReadOnlyList<string> Reports,
    InstanceProblem? Refusal = null)
{
    /// <summary>The last record of a machine that is forgotten.</summary>
    public MachineRecord? Forgotten { get; init; }

    /// <summary>False when the event changed nothing and nothing has to be committed.</summary>
    public bool IsChange { get; init; } = true;
}
