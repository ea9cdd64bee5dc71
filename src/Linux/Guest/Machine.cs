using System.Runtime.InteropServices;
using System.Text;

namespace Ravel.Linux.Guest;

/// <summary>What PID 1 does to the machine as a whole.</summary>
public static unsafe class Machine
{
    private const int Realtime = 0;

    /// <summary>Loads a kernel module from a file; one that is loaded already is fine.</summary>
    public static void LoadModule(string path)
    {
        var fd = Descriptors.Open(path, Descriptors.ReadOnly);
        try
        {
            byte none = 0;
            // SAFETY: finit_module(2) reads a string of no parameters.
            if (GuestCalls.SyscallFinitModule(GuestCalls.FinitModule, fd, &none, 0) != 0 && Marshal.GetLastPInvokeError() != Errno.Exists)
                throw SystemCallException.Last($"load module {path}");
        }
        finally
        {
            Descriptors.Close(fd);
        }
    }

    public static void SetHostname(string name)
    {
        var bytes = Encoding.UTF8.GetBytes(name);
        // SAFETY: the kernel reads exactly the given length.
        fixed (byte* p = bytes)
        {
            if (GuestCalls.SetHostname(p, (nuint)bytes.Length) != 0)
                throw SystemCallException.Last($"set the host name to {name}");
        }
    }

    /// <summary>Unix time in nanoseconds.</summary>
    public static long GetClock()
    {
        TimeSpec now;
        // SAFETY: clock_gettime fills the structure.
        _ = GuestCalls.ClockGet(Realtime, &now);
        return (now.Seconds * 1_000_000_000) + now.Nanoseconds;
    }

    public static void SetClock(long unixNanoseconds)
    {
        var time = new TimeSpec { Seconds = unixNanoseconds / 1_000_000_000, Nanoseconds = unixNanoseconds % 1_000_000_000 };
        // SAFETY: clock_settime reads the structure.
        if (GuestCalls.ClockSet(Realtime, &time) != 0)
            throw SystemCallException.Last("set the clock");
    }

    /// <summary>
    /// Adds bytes to the kernel's random pool and counts them as entropy (random(4), RNDADDENTROPY), and has the generator seeded anew
    /// from it at once (RNDRESEEDCRNG): by itself it would do that within a minute, and until then two copies of a guest draw the same.
    /// </summary>
    public static void AddEntropy(ReadOnlySpan<byte> seed)
    {
        const nuint AddEntropyRequest = 0x40085203;
        const nuint ReseedRequest = 0x5207;
        const int HeaderLength = 2 * sizeof(int);
        var info = new byte[HeaderLength + seed.Length];
        MemoryMarshal.Write(info.AsSpan(), seed.Length * 8);
        MemoryMarshal.Write(info.AsSpan(sizeof(int)), seed.Length);
        seed.CopyTo(info.AsSpan(HeaderLength));
        var fd = Descriptors.Open("/dev/random", Descriptors.WriteOnly);
        // SAFETY: struct rand_pool_info with as many bytes behind it as it says.
        fixed (byte* p = info)
        {
            var result = GuestCalls.Ioctl(fd, AddEntropyRequest, p);
            // Refused only by a generator that has not been seeded yet: its first seed will have these bytes.
            if (result == 0)
                _ = GuestCalls.Ioctl(fd, ReseedRequest, null);
            Descriptors.Close(fd);
            if (result != 0)
                throw SystemCallException.Last("seed the random pool");
        }
    }

    public static void Sync() => GuestCalls.Sync();

    /// <summary>
    /// Ends the machine. A reset rather than a power-off: it ends both VMMs (QEMU with -no-reboot), and a Firecracker guest has nothing
    /// to switch power off with.
    /// </summary>
    public static void Reset()
    {
        const int AutoBoot = 0x01234567;
        _ = GuestCalls.Reboot(AutoBoot);
    }
}
