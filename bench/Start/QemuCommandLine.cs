using System.Text;
using System.Text.RegularExpressions;

namespace Ravel.Bench.Start;

/// <summary>The command line of a QEMU that runs, read from /proc, and what of it is a machine's own.</summary>
/// <param name="Program">Absolute path.</param>
/// <param name="Arguments">Without the program's own name.</param>
internal sealed partial record QemuCommandLine(string Program, IReadOnlyList<string> Arguments)
{
    /// <summary>The QEMU that has a file below a directory as a drive; what it was handed as memory only is copied to <paramref name="work"/>.</summary>
    /// <exception cref="InvalidOperationException">There is none.</exception>
    public static QemuCommandLine FindByDrivesIn(string directory, string work)
    {
        foreach (var process in Directory.EnumerateDirectories("/proc").Where(path => char.IsAsciiDigit(path[^1])))
        {
            string[] words;
            string program;
            try
            {
                words = Encoding.UTF8.GetString(File.ReadAllBytes($"{process}/cmdline")).TrimEnd('\0').Split('\0');
                program = File.ResolveLinkTarget($"{process}/exe", returnFinalTarget: false)?.FullName ?? "";
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                continue; // It ended while we looked, or is a kernel thread.
            }
            if (!Path.GetFileName(program).StartsWith("qemu-system-", StringComparison.Ordinal))
                continue;
            var line = new QemuCommandLine(program, WithNames(words[1..], process, directory, work));
            if (line.Drives().Any(drive => drive.StartsWith(directory + "/", StringComparison.Ordinal)))
                return line;
        }
        throw new InvalidOperationException($"no QEMU has a drive in {directory}: is the VMM another one?");
    }

    /// <summary>The files of its drives that it writes to.</summary>
    public IEnumerable<string> WritableDrives() =>
        Options("-drive", "-blockdev").Where(option => !ReadOnly().IsMatch(option)).SelectMany(FilesIn);

    /// <summary>
    /// The same machine as another: with sockets of its own below <paramref name="directory"/> where this one was given open ones, another
    /// tap, and other files for some of its drives.
    /// </summary>
    public QemuCommandLine MovedTo(string directory, string tap, IReadOnlyDictionary<string, string> files)
    {
        // -S waits for a word on the monitor, which nobody says here.
        var moved = Arguments.Where(argument => argument != "-S").Select(argument =>
        {
            foreach (var (from, to) in files)
                argument = argument.Replace(from, to, StringComparison.Ordinal);
            argument = Tap().Replace(argument, $"$1ifname={tap},script=no,downscript=no");
            return Descriptor().Replace(argument, match => $"path={SocketPath(directory, match.Groups[1].Value)}");
        });
        return this with { Arguments = [.. moved] };
    }

    /// <summary>Where the link's socket is once moved.</summary>
    public string LinkSocket(string directory, string portName)
    {
        var port = Options("-device").Single(option => option.Contains($"name={portName}", StringComparison.Ordinal));
        var chardev = Chardev().Match(port).Groups[1].Value;
        var socket = Options("-chardev").Single(option => option.Split(',').Contains($"id={chardev}"));
        return SocketPath(directory, Descriptor().Match(socket).Groups[1].Value);
    }

    /// <summary>The address of the network interface.</summary>
    public string Mac => Options("-device").Select(option => MacAddress().Match(option)).First(match => match.Success).Groups[1].Value;

    /// <summary>
    /// A script names the files that Ravel hands over open. QEMU has closed what it was handed for a drive and has it open under another
    /// number: the drive that is written to is the only file open for writing, the other one that is only read.
    /// </summary>
    private static string[] WithNames(string[] arguments, string process, string directory, string work)
    {
        var handed = arguments.SelectMany(argument => DescriptorFile().Matches(argument)).Select(match => NameOf(match.Groups[1].Value)).ToHashSet(StringComparer.Ordinal);
        var drives = Directory.EnumerateFileSystemEntries($"{process}/fd").Select(fd => Path.GetFileName(fd))
            .Select(fd => (Name: NameOf(fd), IsWritten: IsWritten(fd)))
            .Where(file => file.Name.StartsWith(directory + "/", StringComparison.Ordinal) && !handed.Contains(file.Name))
            .Distinct().ToList();
        return
        [
            .. arguments
                .Where((argument, i) => argument != "-add-fd" && !(i > 0 && arguments[i - 1] == "-add-fd"))
                .Select(argument => DescriptorSetFile().Replace(
                    argument, _ => drives.Where(file => file.IsWritten != ReadOnly().IsMatch(argument)).Select(file => file.Name).FirstOrDefault("")))
                .Select(argument => DescriptorFile().Replace(argument, match => FileOf(match.Groups[1].Value))),
        ];

        string NameOf(string descriptor) => File.ResolveLinkTarget($"{process}/fd/{descriptor}", returnFinalTarget: false)?.FullName ?? "";

        string FileOf(string descriptor)
        {
            var name = NameOf(descriptor);
            if (!name.StartsWith("/memfd:", StringComparison.Ordinal))
                return name;
            var copy = Path.Combine(work, $"memory-{descriptor}");
            File.Copy($"{process}/fd/{descriptor}", copy, overwrite: true);
            return copy;
        }

        // proc(5): the flags of open(2) in octal; of these O_RDWR is 2.
        bool IsWritten(string descriptor) => File.ReadLines($"{process}/fdinfo/{descriptor}").First(line => line.StartsWith("flags:", StringComparison.Ordinal))[^1] is '1' or '2';
    }

    private static string SocketPath(string directory, string descriptor) => Path.Combine(directory, $"socket-{descriptor}");

    private IEnumerable<string> Drives() => Options("-drive", "-blockdev").SelectMany(FilesIn);

    private static IEnumerable<string> FilesIn(string option) => DriveFile().Matches(option).Select(match => match.Groups[1].Value);

    private IEnumerable<string> Options(params string[] names) =>
        Arguments.Zip(Arguments.Skip(1)).Where(pair => names.Contains(pair.First)).Select(pair => pair.Second);

    [GeneratedRegex("""\bfd=(\d+)""")]
    private static partial Regex Descriptor();

    [GeneratedRegex("""/dev/fdset/(\d+)""")]
    private static partial Regex DescriptorSetFile();

    [GeneratedRegex("""/(?:dev|proc/self)/fd/(\d+)""")]
    private static partial Regex DescriptorFile();

    [GeneratedRegex("""^(tap,.*?)\bfd=\d+""")]
    private static partial Regex Tap();

    [GeneratedRegex("""\bchardev=([^,]+)""")]
    private static partial Regex Chardev();

    [GeneratedRegex("""\bmac=([0-9a-fA-F:]+)""")]
    private static partial Regex MacAddress();

    [GeneratedRegex("""\bread-?only=on|\bread-only":\s*true""")]
    private static partial Regex ReadOnly();

    [GeneratedRegex("""(?:\b(?:file|filename)=|"filename":\s*")(/[^,"]+)""")]
    private static partial Regex DriveFile();
}
