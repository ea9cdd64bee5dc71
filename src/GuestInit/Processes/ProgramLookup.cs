using Ravel.Contracts.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Processes;

/// <summary>From a command's name to a file, and from a refusal to words.</summary>
internal static class ProgramLookup
{
    /// <exception cref="SetupException">No directory of the path has it.</exception>
    public static string Find(string program, string searchPath)
    {
        if (program.Contains('/'))
            return program;
        string? notExecutable = null;
        foreach (var directory in searchPath.Split(':'))
        {
            // A relative entry would make the program depend on where it is started.
            if (!directory.StartsWith('/'))
                continue;
            var candidate = $"{directory}/{program}";
            if (!FileSystems.Exists(candidate) || IsDirectory(candidate))
                continue;
            if (FileSystems.IsExecutable(candidate))
                return candidate;
            notExecutable ??= candidate;
        }
        throw notExecutable is null
            ? new SetupException(SetupException.NotFound, $"{program}: not found in PATH ({searchPath})")
            : new SetupException(SetupException.NotExecutable, $"{notExecutable}: not executable");
    }

    public static SetupException Explain(ProcessConfig process, string directory, string path, ChildStep step, int error)
    {
        var reason = new SystemCallException(path, error).Message;
        return step switch
        {
            ChildStep.Execute when error is Errno.NotFound or Errno.NotADirectory => new SetupException(
                SetupException.NotFound, FileSystems.Exists(path) ? $"{path}: its interpreter is not there" : reason),
            ChildStep.Execute => new SetupException(SetupException.NotExecutable, reason),
            ChildStep.WorkingDirectory => new SetupException(
                SetupException.NotExecutable, new SystemCallException($"working directory {directory}", error).Message),
            _ => new SetupException(
                SetupException.SetupFailed, new SystemCallException($"{process.Arguments[0]}: {step} (user {process.User})", error).Message),
        };
    }

    private static bool IsDirectory(string path)
    {
        var fd = Descriptors.TryOpen(path, Descriptors.ReadOnly | Descriptors.Directory);
        if (fd < 0)
            return false;
        Descriptors.Close(fd);
        return true;
    }
}
