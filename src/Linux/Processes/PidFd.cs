using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Processes;

/// <summary>
/// A hold on one process, ours or not (pidfd_open(2)): signals reach that process or nobody, and its end is awaited without a
/// thread or polling.
/// </summary>
public sealed unsafe class PidFd : IDisposable
{
    private readonly SafeFileHandle _handle;
    private readonly TaskCompletionSource _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly IDisposable? _watch;

    private PidFd(ProcessIdentity identity, SafeFileHandle handle)
    {
        Identity = identity;
        _handle = handle;
        _watch = DescriptorWatch.Add(handle, OnExited);
    }

    public ProcessIdentity Identity { get; }

    /// <summary>Completes when the process has ended; its parent may not have reaped it yet. Never completes once disposed.</summary>
    public Task Exited => _exited.Task;

    /// <summary>Null when that very process is gone.</summary>
    public static PidFd? TryOpen(ProcessIdentity identity)
    {
        var handle = ProcessCalls.pidfd_open(identity.Pid, 0);
        if (handle.IsInvalid)
        {
            handle.Dispose();
            return null;
        }
        // Compared after opening: the descriptor pins whoever had the pid, so equality now proves it is the one meant.
        if (!identity.IsRunning)
        {
            handle.Dispose();
            return null;
        }
        return new PidFd(identity, handle);
    }

    /// <summary>For a child that nobody else reaps: it may have ended, but its pid is still its own.</summary>
    internal static PidFd OpenChild(ProcessIdentity identity)
    {
        var handle = ProcessCalls.pidfd_open(identity.Pid, 0);
        if (!handle.IsInvalid)
            return new PidFd(identity, handle);
        var error = Marshal.GetLastPInvokeError();
        handle.Dispose();
        throw new Win32Exception(error, $"pidfd_open of process {identity.Pid} failed");
    }

    /// <summary>False when the process has already ended.</summary>
    /// <exception cref="Win32Exception">Not permitted.</exception>
    public bool Signal(int signal)
    {
        const int NoSuchProcess = 3;
        if (ProcessCalls.pidfd_send_signal(_handle, signal, null, 0) == 0)
            return true;
        var error = Marshal.GetLastPInvokeError();
        return error == NoSuchProcess ? false : throw new Win32Exception(error, $"signal {signal} to process {Identity.Pid} failed");
    }

    public void Dispose()
    {
        _watch?.Dispose();
        _handle.Dispose();
    }

    /// <summary>Takes the exit status of a child of ours away from the kernel; null when it is not one, or has not ended.</summary>
    internal ExitStatus? Reap()
    {
        const int Exited = 1;
        var info = stackalloc byte[128];
        new Span<byte>(info, 128).Clear();
        var result = ProcessCalls.waitid(
            ProcessCalls.PPidfd, (int)_handle.DangerousGetHandle(), info, ProcessCalls.WExited | ProcessCalls.WNohang);
        if (result != 0 || *(int*)(info + 16) == 0)
            return null;
        var status = *(int*)(info + 24);
        return *(int*)(info + 8) == Exited ? new ExitStatus(status, 0) : new ExitStatus(128 + status, status);
    }

    private void OnExited()
    {
        // Level-triggered: an ended process stays readable, so a call that comes before the constructor is done comes again.
        _watch?.Dispose();
        _exited.TrySetResult();
    }
}

/// <summary>How a child ended.</summary>
/// <param name="Code">As a shell reports it: 128 + signal for a killed one.</param>
/// <param name="Signal">0 when it exited by itself.</param>
public readonly record struct ExitStatus(int Code, int Signal)
{
    public override string ToString() => Signal != 0 ? $"killed by signal {Signal}" : $"exit status {Code}";
}
