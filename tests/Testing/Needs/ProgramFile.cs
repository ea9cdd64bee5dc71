using System.Diagnostics;

namespace Ravel.Testing.Needs;

/// <summary>
/// Writes scripts that a test then runs. A process of its own writes them: a child that another test forks while this one writes would
/// hold the file open for writing until it execs, and what is open for writing cannot be run (ETXTBSY, execve(2)).
/// </summary>
public static class ProgramFile
{
    /// <summary>Writes a script for sh, rwxr-xr-x, as a new file: one that runs from an old one goes on with it.</summary>
    /// <returns><paramref name="path"/>.</returns>
    public static string Write(string path, string script)
    {
        var start = new ProcessStartInfo("install") { RedirectStandardInput = true };
        foreach (var argument in (string[])["-m", "0755", "/dev/stdin", path])
            start.ArgumentList.Add(argument);
#pragma warning disable RS0030 // Waited for here; constructors call this.
        using var install = Process.Start(start)!;
#pragma warning restore RS0030
        install.StandardInput.Write($"#!/bin/sh\n{script}\n");
        install.StandardInput.Close();
        install.WaitForExit();
        return install.ExitCode == 0 ? path : throw new IOException($"install could not write {path}: exit code {install.ExitCode}");
    }
}
