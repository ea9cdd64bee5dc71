using System.Collections.Concurrent;
using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Processes;

/// <summary>
/// One epoll loop (epoll(7)) on one background thread for the descriptors .NET's own loop does not take: pidfds and pipes.
/// A thousand VMMs cost no thread each. Callbacks run on that thread and must not block.
/// </summary>
internal sealed unsafe class DescriptorWatch
{
    // struct epoll_event is packed on x86-64 and on no other architecture.
    private static readonly int EventBytes = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;
    private static readonly int DataOffset = EventBytes - 8;

    private static readonly Lazy<DescriptorWatch> Instance = new(() => new DescriptorWatch());

    private readonly SafeFileHandle _epoll;
    private readonly ConcurrentDictionary<ulong, Action> _callbacks = new();
    private long _nextId;

    private DescriptorWatch()
    {
        _epoll = ProcessCalls.epoll_create1(ProcessCalls.OCloexec);
        if (_epoll.IsInvalid)
            throw new Win32Exception(Marshal.GetLastPInvokeError(), "epoll_create1 failed");
        new Thread(Loop) { IsBackground = true, Name = "descriptor watch" }.Start();
    }

    /// <summary>
    /// Calls <paramref name="readable"/> whenever <paramref name="descriptor"/> can be read or has hung up, until the watch is
    /// disposed. The descriptor must be kept open until then.
    /// </summary>
    public static IDisposable Add(SafeFileHandle descriptor, Action readable) => Instance.Value.AddCore(descriptor, readable);

    private Registration AddCore(SafeFileHandle descriptor, Action readable)
    {
        var id = (ulong)Interlocked.Increment(ref _nextId);
        _callbacks[id] = readable;
        var entry = stackalloc byte[16];
        *(uint*)entry = ProcessCalls.EpollIn;
        Marshal.WriteInt64((nint)(entry + DataOffset), (long)id);
        if (ProcessCalls.epoll_ctl(_epoll, ProcessCalls.EpollCtlAdd, descriptor, entry) != 0)
        {
            _callbacks.TryRemove(id, out _);
            throw new Win32Exception(Marshal.GetLastPInvokeError(), "epoll_ctl failed");
        }
        return new Registration(this, descriptor, id);
    }

    private void Loop()
    {
        const int Capacity = 64;
        var events = stackalloc byte[16 * Capacity];
        while (true)
        {
            var count = ProcessCalls.epoll_wait(_epoll, events, Capacity, -1);
            for (var i = 0; i < count; i++)
            {
                // A watch disposed between epoll_wait and here is no longer in the table.
                var id = (ulong)Marshal.ReadInt64((nint)(events + (EventBytes * i) + DataOffset));
                if (_callbacks.TryGetValue(id, out var callback))
                    callback();
            }
        }
    }

    private sealed class Registration(DescriptorWatch watch, SafeFileHandle descriptor, ulong id) : IDisposable
    {
        public void Dispose()
        {
            if (watch._callbacks.TryRemove(id, out _))
            {
                var unused = stackalloc byte[16];
                _ = ProcessCalls.epoll_ctl(watch._epoll, ProcessCalls.EpollCtlDel, descriptor, unused);
            }
        }
    }
}
