using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Processes;

/// <summary>
/// System calls about processes: spawn.h, sys/pidfd.h, sys/wait.h, sys/epoll.h, sys/stat.h, fcntl.h. The opaque
/// structures of spawn.h are given more room than any libc takes (glibc 2.36: 80 and 336 bytes).
/// </summary>
internal static unsafe partial class ProcessCalls
{
    public const int SpawnStructureBytes = 1024;

    public const int ORdwr = 2;
    public const int ONonblock = 0x800;
    public const int OCloexec = 0x80000;

    public const int FDupfdCloexec = 1030;

    public const short SpawnSetSigdef = 0x04;
    public const short SpawnSetSigmask = 0x08;
    public const short SpawnSetsid = 0x80;

    public const uint EpollIn = 0x1;
    public const int EpollCtlAdd = 1;
    public const int EpollCtlDel = 2;

    public const int PPidfd = 3;
    public const int WExited = 4;
    public const int WNohang = 1;

    public const int Sigkill = 9;

    public const int EEXIST = 17;

    [LibraryImport("libc")]
    public static partial int posix_spawn(int* pid, byte* path, void* fileActions, void* attributes, byte** argv, byte** envp);

    [LibraryImport("libc")]
    public static partial int posix_spawn_file_actions_init(void* actions);

    [LibraryImport("libc")]
    public static partial int posix_spawn_file_actions_destroy(void* actions);

    [LibraryImport("libc")]
    public static partial int posix_spawn_file_actions_addopen(void* actions, int fd, byte* path, int flags, uint mode);

    [LibraryImport("libc")]
    public static partial int posix_spawn_file_actions_adddup2(void* actions, int fd, int newFd);

    [LibraryImport("libc")]
    public static partial int posix_spawn_file_actions_addclosefrom_np(void* actions, int from);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int posix_spawn_file_actions_addchdir_np(void* actions, string path);

    [LibraryImport("libc")]
    public static partial int posix_spawnattr_init(void* attributes);

    [LibraryImport("libc")]
    public static partial int posix_spawnattr_destroy(void* attributes);

    [LibraryImport("libc")]
    public static partial int posix_spawnattr_setflags(void* attributes, short flags);

    [LibraryImport("libc")]
    public static partial int posix_spawnattr_setsigdefault(void* attributes, void* set);

    [LibraryImport("libc")]
    public static partial int posix_spawnattr_setsigmask(void* attributes, void* set);

    [LibraryImport("libc")]
    public static partial int sigfillset(void* set);

    [LibraryImport("libc")]
    public static partial int sigemptyset(void* set);

    [LibraryImport("libc", SetLastError = true)]
    public static partial SafeFileHandle pidfd_open(int pid, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int pidfd_send_signal(SafeFileHandle pidfd, int signal, void* info, uint flags);

    /// <summary><paramref name="info"/>: siginfo_t of 128 bytes; si_code is at 8, si_pid at 16, si_status at 24.</summary>
    [LibraryImport("libc", SetLastError = true)]
    public static partial int waitid(int idType, int id, void* info, int options);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int kill(int pid, int signal);

    [LibraryImport("libc", SetLastError = true)]
    public static partial SafeFileHandle epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int epoll_ctl(SafeFileHandle epoll, int operation, SafeFileHandle fd, void* epollEvent);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int epoll_wait(SafeFileHandle epoll, void* events, int maximum, int timeoutMilliseconds);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int mkfifo(string path, uint mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial SafeFileHandle open(string path, int flags, uint mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int link(string existing, string name);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int lchown(string path, int user, int group);

    [LibraryImport("libc", SetLastError = true)]
    public static partial SafeFileHandle fcntl(SafeHandle fd, int command, int argument);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint read(SafeFileHandle fd, byte* buffer, nint length);
}
