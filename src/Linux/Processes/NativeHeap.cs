using System.Runtime.InteropServices;

namespace Ravel.Linux.Processes;

/// <summary>glibc's allocator, which the runtime and SQLite allocate from (mallopt(3), malloc_trim(3)).</summary>
public static partial class NativeHeap
{
    /// <summary>M_ARENA_MAX of malloc.h.</summary>
    private const int ArenaMax = -8;

    /// <summary>
    /// Lets all threads share <paramref name="count"/> arenas instead of eight for each core, of which each keeps what it once
    /// needed. Only arenas made later are affected: call it first.
    /// </summary>
    public static void LimitArenas(int count) => _ = mallopt(ArenaMax, count);

    /// <summary>Gives free memory back to the kernel.</summary>
    public static void Trim() => _ = malloc_trim(0);

    [LibraryImport("libc")]
    private static partial int mallopt(int parameter, int value);

    [LibraryImport("libc")]
    private static partial int malloc_trim(nuint pad);
}
