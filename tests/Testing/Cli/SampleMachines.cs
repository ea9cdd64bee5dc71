using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;

namespace Ravel.Testing.Cli;

/// <summary>Machines as the API shows them, for tests of the command line.</summary>
public static class SampleMachines
{
    public static readonly DateTimeOffset Now = new(2026, 3, 4, 12, 0, 0, TimeSpan.Zero);

    public static Machine Started(string id, string name, string app = "default") => new()
    {
        Id = MachineId.Parse(id),
        Name = name,
        App = app,
        State = MachineStates.Started,
        InstanceId = InstanceId.New(Now.AddMinutes(-3)).ToString(),
        CreatedAt = Now.AddMinutes(-4),
        UpdatedAt = Now.AddMinutes(-3),
        Generation = 1,
        Config = new MachineConfig { Image = "nginx:1" },
    };

    public static Machine Exited(string id, string name, int code, bool requested = false) => Started(id, name) with
    {
        State = MachineStates.Stopped,
        Exit = new MachineExit(code, null, OomKilled: false, requested, Now.AddMinutes(-2)),
    };

    public static Machine Failed(string id, string name, string code, string message) => Started(id, name) with
    {
        State = MachineStates.Failed,
        Problem = new MachineProblem(code, message),
        UpdatedAt = Now.AddSeconds(-5),
    };
}
