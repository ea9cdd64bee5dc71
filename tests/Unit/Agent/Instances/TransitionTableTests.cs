using System.Text;
using Ravel.Agent.Instances;
using Ravel.Contracts.Node;
using Ravel.Durable.Workflows;
using Ravel.Testing.Repository;

namespace Ravel.Unit.Agent.Instances;

/// <summary>The table in docs/instance-states.md is what the code does: every state with every event.</summary>
public sealed class TransitionTableTests
{

    private static readonly (string Name, Func<MachineRecord, InstanceEvent> Event)[] Events =
    [
        ("put started, same spec", m => new InstanceEvent.Put(m.Id, m.Generation + 1, DesiredState.Started, m.Spec, false)),
        ("put started, new spec", m => new InstanceEvent.Put(m.Id, m.Generation + 1, DesiredState.Started, Records.OtherSpec, false)),
        ("put stopped", m => new InstanceEvent.Put(m.Id, m.Generation + 1, DesiredState.Stopped, m.Spec, false)),
        ("put stopped, force", m => new InstanceEvent.Put(m.Id, m.Generation + 1, DesiredState.Stopped, m.Spec, true)),
        ("put suspended", m => new InstanceEvent.Put(m.Id, m.Generation + 1, DesiredState.Suspended, m.Spec, false)),
        ("put destroyed", m => new InstanceEvent.Put(m.Id, m.Generation + 1, DesiredState.Destroyed, m.Spec, false)),
        ("put, older", m => new InstanceEvent.Put(m.Id, m.Generation, DesiredState.Destroyed, m.Spec, true)),
        ("step done", _ => new InstanceEvent.StepDone(new WorkflowPosition(WorkflowDirection.Do, StartWorkflow.Network), new StartFacts())),
        ("all steps done", _ => new InstanceEvent.StepDone(null, new StartFacts())),
        ("start failed", _ => new InstanceEvent.StartFailed(
            new WorkflowPosition(WorkflowDirection.Undo, StartWorkflow.Network), new StartFacts(), new InstanceProblem("port-taken", "taken"))),
        ("step undone", _ => new InstanceEvent.StepUndone(new WorkflowPosition(WorkflowDirection.Undo, StartWorkflow.Image))),
        ("all undone", _ => new InstanceEvent.StepUndone(null)),
        ("memory saved", _ => new InstanceEvent.Saved(Records.Memory)),
        ("memory not saved", _ => new InstanceEvent.SaveFailed()),
        ("guest started", _ => new InstanceEvent.GuestStarted()),
        ("guest failed", _ => new InstanceEvent.GuestFailed(127, "not found")),
        ("guest exited", _ => new InstanceEvent.GuestExited(0, 0, false)),
        ("guest broken", _ => new InstanceEvent.GuestBroken("bad frame")),
        ("VMM gone", _ => new InstanceEvent.VmmExited("signal 9")),
        ("deadline passed", _ => new InstanceEvent.Tick()),
        ("node stopping", _ => new InstanceEvent.NodeStopping(TimeSpan.FromSeconds(1))),
        ("node started", _ => new InstanceEvent.NodeStarted()),
        ("held", _ => new InstanceEvent.Held()),
        ("host rebooted", _ => new InstanceEvent.HostRebooted()),
        ("removed", _ => new InstanceEvent.Removed()),
    ];

    [Fact]
    public void The_documented_table_is_the_one_of_the_code() => Documented("table", Table());

    [Fact]
    public void The_documented_diagram_is_the_one_of_the_code() => Documented("diagram", Diagram());

    [Fact]
    public void What_a_transition_sets_going_is_what_a_crash_after_it_finds_to_be_done()
    {
        foreach (var before in Records.OfEveryState())
        {
            foreach (var (name, happened) in Events)
            {
                var decision = Decide(before, happened(before));
                if (!decision.IsChange || decision.Next is not { } next)
                    continue;
                var resumed = InstanceStates.Resume(next);
                foreach (var effect in decision.Effects)
                    Assert.True(resumed.Contains(effect), $"{before.State}, {name}: {effect} would be lost by a crash");
                if (next.State != before.State && next.State is not (InstanceState.Running or InstanceState.Booting))
                {
                    // What is under way already goes on: the workflow that turns around, the link that is open.
                    foreach (var effect in resumed.Except(decision.Effects))
                        Assert.True(effect is InstanceEffect.Attend || name == "start failed", $"{before.State}, {name}: {effect} is not set going");
                }
            }
        }
    }

    private static void Documented(string part, string wanted)
    {
        var path = Path.Combine(SourceTree.Root, "docs", "instance-states.md");
        var text = File.ReadAllText(path);
        var mark = $"<!-- {part}: begin -->";
        var begin = text.IndexOf(mark, StringComparison.Ordinal) + mark.Length;
        var end = text.IndexOf($"<!-- {part}: end -->", StringComparison.Ordinal);
        if (Environment.GetEnvironmentVariable("RAVEL_WRITE_DOCS") == "1")
            File.WriteAllText(path, text[..begin] + "\n" + wanted + text[end..]);
        Assert.Equal(wanted.Trim(), text[begin..end].Trim());
    }

    /// <summary>Every change of state, with the events that bring it.</summary>
    private static string Diagram()
    {
        var text = new StringBuilder("```mermaid\nstateDiagram-v2\n");
        foreach (var machine in Records.OfEveryState())
        {
            foreach (var next in Events.GroupBy(e => Cell(machine, e.Event(machine)), e => e.Name).OrderBy(e => e.Key, StringComparer.Ordinal))
            {
                var state = next.Key.Replace("new ", "", StringComparison.Ordinal);
                if (state.Length == 0 || state == "illegal-state" || state == Name(machine))
                    continue;
                var to = state is "(forgotten)" or "(none)" ? "[*]" : state;
                text.Append($"    {(machine.State is null ? "[*]" : Name(machine))} --> {to}: {string.Join(" / ", next)}\n");
            }
        }
        return text.Append("```\n").ToString();
    }

    private static string Name(MachineRecord machine) => machine.State?.ToString() ?? "(none)";

    private static Decision Decide(MachineRecord machine, InstanceEvent happened) => InstanceStates.Decide(machine, happened, Records.Context(Records.Late));

    private static string Table()
    {
        var states = Records.OfEveryState();
        var text = new StringBuilder("| event |");
        foreach (var machine in states)
            text.Append($" {Name(machine)} |");
        text.Append("\n|---|").Insert(text.Length, "---|", states.Count).Append('\n');
        foreach (var (name, happened) in Events)
        {
            text.Append($"| {name} |");
            foreach (var machine in states)
                text.Append($" {Cell(machine, happened(machine))} |");
            text.Append('\n');
        }
        return text.ToString();
    }

    private static string Cell(MachineRecord machine, InstanceEvent happened)
    {
        var decision = Decide(machine, happened);
        if (decision.Refusal is { } refusal)
            return refusal.Code;
        if (!decision.IsChange)
            return "";
        if (decision.Next is not { } next)
            return "(forgotten)";
        var isNew = next.Instance is not null && next.Instance.Id != machine.Instance?.Id;
        return (isNew ? "new " : "") + Name(next);
    }
}
