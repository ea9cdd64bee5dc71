using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Xunit;

namespace Ravel.Testing.Images;

/// <summary>
/// Compares two directory trees in everything a program can see: paths, types, bytes, modes, owners, times (to the
/// nanosecond), link counts and which names share an inode, devices, link targets, extended attributes. Needs root to see
/// all of them.
/// </summary>
/// <remarks>
/// A directory's link count is what its file system makes of it: two and one for each directory below (ext4, EROFS), or
/// always one where that is not counted (btrfs, overlayfs, ext4 from 65,000 on). Both are right; anything else is reported.
/// Access and change times are not compared, nor inode numbers: nobody can set them.
/// </remarks>
public static partial class TreeComparer
{
    /// <summary>The differences, one a line, in the form <c>PATH: WHAT LEFT ≠ RIGHT</c>; empty when the trees are equal.</summary>
    /// <param name="ignoreTimeOf">Says of a path (from the root, <c>/a/b</c>) whether its time may differ; null for none.</param>
    public static IReadOnlyList<string> Compare(string left, string right, Func<string, bool>? ignoreTimeOf = null)
    {
        var a = Read(left);
        var b = Read(right);
        var differences = new List<string>();
        foreach (var path in a.Keys.Union(b.Keys).Order(StringComparer.Ordinal))
        {
            if (!a.TryGetValue(path, out var x) || !b.TryGetValue(path, out var y))
            {
                differences.Add($"{path}: only {(a.ContainsKey(path) ? "left" : "right")}");
                continue;
            }
            foreach (var (what, value) in x)
            {
                if (what == "mtime" && ignoreTimeOf?.Invoke(path) == true)
                    continue;
                if (!y.TryGetValue(what, out var other) || other != value)
                    differences.Add($"{path}: {what} {value} ≠ {other ?? "(none)"}");
            }
            foreach (var what in y.Keys.Except(x.Keys))
                differences.Add($"{path}: {what} (none) ≠ {y[what]}");
        }
        return differences;
    }

    /// <summary>Fails a test that has differences, with the first of them in full.</summary>
    public static void AssertNone(IReadOnlyList<string> differences) =>
        Assert.True(differences.Count == 0, $"{differences.Count} differences:\n{string.Join('\n', differences.Take(20))}");

    /// <summary>Path from the root (bytes as Latin-1) → what there is to know about it.</summary>
    public static SortedDictionary<string, SortedDictionary<string, string>> Read(string root)
    {
        var found = new SortedDictionary<string, SortedDictionary<string, string>>(StringComparer.Ordinal);
        var firstNameOf = new Dictionary<(ulong, ulong), string>();
        var directories = new Dictionary<string, ulong>();
        var pending = new Stack<string>();
        pending.Push("/");
        var start = Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(root.TrimEnd('/')));
        while (pending.TryPop(out var path))
        {
            var full = path == "/" ? start : start + path;
            var bytes = Terminated(full);
            if (LStat(bytes, out var stat) != 0)
                throw new IOException($"lstat {full}: {Marshal.GetLastPInvokeErrorMessage()}");
            var type = stat.Mode & 0xf000;
            var facts = new SortedDictionary<string, string>(StringComparer.Ordinal)
            {
                ["mode"] = Convert.ToString((int)stat.Mode, 8),
                ["owner"] = $"{stat.UserId}:{stat.GroupId}",
                ["mtime"] = $"{stat.ModifiedSeconds}.{stat.ModifiedNanoseconds:d9}",
                ["nlink"] = $"{stat.Links}",
            };
            if (type is 0x2000 or 0x6000)
                facts["device"] = $"{stat.Device}";
            if (type == 0xa000)
                facts["target"] = ReadLink(bytes);
            foreach (var (name, value) in ReadXattrs(bytes))
                facts[$"xattr {name}"] = value;
            if (type == 0x8000)
            {
                facts["size"] = $"{stat.Size}";
                facts["sha256"] = HashOf(bytes);
            }
            if (type != 0x4000 && stat.Links > 1)
            {
                // The first name in order stands for the inode, so that both sides call it the same.
                var inode = (stat.DeviceId, stat.Inode);
                firstNameOf[inode] = firstNameOf.TryGetValue(inode, out var first) && string.CompareOrdinal(first, path) < 0 ? first : path;
                facts["inode"] = $"{inode}";
            }
            found[path] = facts;
            if (type == 0x4000)
            {
                directories[path] = stat.Links;
                foreach (var name in ReadDirectory(bytes))
                    pending.Push(path == "/" ? $"/{name}" : $"{path}/{name}");
            }
        }
        CountLinks(found, directories);
        var nameOfInode = firstNameOf.ToDictionary(pair => $"{pair.Key}", pair => pair.Value);
        foreach (var facts in found.Values)
        {
            if (facts.TryGetValue("inode", out var inode))
                facts["inode"] = nameOfInode[inode];
        }
        return found;
    }

    /// <summary>Gives directories whose link count is right, each in its file system's way, the same word for it.</summary>
    private static void CountLinks(
        SortedDictionary<string, SortedDictionary<string, string>> found, Dictionary<string, ulong> linksOf)
    {
        var below = linksOf.Keys.Where(path => path != "/").CountBy(path => path[..Math.Max(path.LastIndexOf('/'), 1)]).ToDictionary();
        foreach (var (path, links) in linksOf)
        {
            if (links == 1 || links == 2 + (ulong)below.GetValueOrDefault(path))
                found[path]["nlink"] = "as counted";
        }
    }

    private static byte[] Terminated(string latin1) => [.. Encoding.Latin1.GetBytes(latin1), 0];

    private static string ReadLink(byte[] path)
    {
        var buffer = new byte[4096];
        var length = ReadLink(path, buffer, buffer.Length);
        return length < 0 ? throw new IOException("readlink") : Encoding.Latin1.GetString(buffer, 0, (int)length);
    }

    private static string HashOf(byte[] path)
    {
        var descriptor = OpenFile(path, 0x80000 /* O_CLOEXEC */);
        if (descriptor < 0)
            throw new IOException($"open {Encoding.Latin1.GetString(path)}: {Marshal.GetLastPInvokeErrorMessage()}");
        using var stream = new FileStream(new Microsoft.Win32.SafeHandles.SafeFileHandle(descriptor, true), FileAccess.Read, 0);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    private static SortedDictionary<string, string> ReadXattrs(byte[] path)
    {
        var found = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var list = new byte[65536];
        var length = ListXattr(path, list, list.Length);
        if (length < 0)
            throw new IOException($"listxattr {Encoding.Latin1.GetString(path)}: {Marshal.GetLastPInvokeErrorMessage()}");
        for (nint start = 0; start < length;)
        {
            var end = Array.IndexOf(list, (byte)0, (int)start);
            var name = list[(int)start..(end + 1)];
            var value = new byte[65536];
            var size = GetXattr(path, name, value, value.Length);
            if (size < 0)
                throw new IOException($"getxattr {Encoding.Latin1.GetString(name)}: {Marshal.GetLastPInvokeErrorMessage()}");
            found[Encoding.Latin1.GetString(name, 0, name.Length - 1)] = Convert.ToHexString(value, 0, (int)size);
            start = end + 1;
        }
        return found;
    }

    /// <summary>Names as bytes; .NET's own enumeration would turn them into text.</summary>
    private static List<string> ReadDirectory(byte[] path)
    {
        var directory = OpenDirectory(path);
        if (directory == 0)
            throw new IOException($"opendir {Encoding.Latin1.GetString(path)}: {Marshal.GetLastPInvokeErrorMessage()}");
        try
        {
            var names = new List<string>();
            nint entry;
            while ((entry = ReadEntry(directory)) != 0)
            {
                // struct dirent of glibc on x86-64: d_name at offset 19.
                var name = BytesAt(entry + 19);
                if (name is not ("." or ".."))
                    names.Add(name);
            }
            return names;
        }
        finally
        {
            _ = CloseDirectory(directory);
        }
    }

    private static string BytesAt(nint address)
    {
        var length = 0;
        while (Marshal.ReadByte(address + length) != 0)
            length++;
        var bytes = new byte[length];
        Marshal.Copy(address, bytes, 0, length);
        return Encoding.Latin1.GetString(bytes);
    }

    /// <summary>struct stat of Linux on x86-64.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Stat
    {
        public ulong DeviceId;
        public ulong Inode;
        public ulong Links;
        public uint Mode;
        public uint UserId;
        public uint GroupId;
        public uint Padding;
        public ulong Device;
        public long Size;
        public long BlockSize;
        public long Blocks;
        public long AccessedSeconds;
        public long AccessedNanoseconds;
        public long ModifiedSeconds;
        public long ModifiedNanoseconds;
        public long ChangedSeconds;
        public long ChangedNanoseconds;
        public long Reserved0;
        public long Reserved1;
        public long Reserved2;
    }

    [LibraryImport("libc", EntryPoint = "lstat", SetLastError = true)]
    private static partial int LStat(byte[] path, out Stat stat);

    [LibraryImport("libc", EntryPoint = "readlink", SetLastError = true)]
    private static partial nint ReadLink(byte[] path, byte[] buffer, nint size);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true)]
    private static partial int OpenFile(byte[] path, int flags);

    [LibraryImport("libc", EntryPoint = "llistxattr", SetLastError = true)]
    private static partial nint ListXattr(byte[] path, byte[] list, nint size);

    [LibraryImport("libc", EntryPoint = "lgetxattr", SetLastError = true)]
    private static partial nint GetXattr(byte[] path, byte[] name, byte[] value, nint size);

    [LibraryImport("libc", EntryPoint = "opendir", SetLastError = true)]
    private static partial nint OpenDirectory(byte[] path);

    [LibraryImport("libc", EntryPoint = "readdir", SetLastError = true)]
    private static partial nint ReadEntry(nint directory);

    [LibraryImport("libc", EntryPoint = "closedir", SetLastError = true)]
    private static partial int CloseDirectory(nint directory);
}
