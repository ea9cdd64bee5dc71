using Ravel.Contracts.Link;

namespace Ravel.GuestInit.Processes;

/// <summary>The environment of a process: what was configured, and Docker's defaults for what was not.</summary>
internal static class ProcessEnvironment
{
    public const string DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    public static List<string> Build(ProcessConfig process, string hostname, string home)
    {
        var environment = new List<string> { $"PATH={DefaultPath}", $"HOSTNAME={hostname}" };
        if (process.Tty)
            environment.Add("TERM=xterm");
        environment.Add($"HOME={home}");
        foreach (var variable in process.Environment)
            Set(environment, variable);
        return environment;
    }

    public static string Get(List<string> environment, string name)
    {
        var at = IndexOf(environment, name);
        return at < 0 ? "" : environment[at][(name.Length + 1)..];
    }

    private static void Set(List<string> environment, string variable)
    {
        var equals = variable.IndexOf('=');
        // A name without a value, or a value without a name, is nothing a process can be given.
        if (equals <= 0)
            return;
        var at = IndexOf(environment, variable[..equals]);
        if (at < 0)
            environment.Add(variable);
        else
            environment[at] = variable;
    }

    private static int IndexOf(List<string> environment, string name) =>
        environment.FindIndex(v => v.Length > name.Length && v[name.Length] == '=' && v.StartsWith(name, StringComparison.Ordinal));
}
