using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using Ravel.Linux.Processes;

namespace Ravel.Unit.Linux.Processes;

public sealed class FileMappingsTests : IDisposable
{
    private const int Pages = 64;

    private readonly string _file = Path.Combine(Path.GetTempPath(), "ravel mapped " + Path.GetRandomFileName());

    public void Dispose() => File.Delete(_file);

    [Fact]
    public void A_released_mapping_has_no_page_in_memory_and_still_reads_as_the_file()
    {
        File.WriteAllBytes(_file, [.. Enumerable.Range(0, Pages * Environment.SystemPageSize).Select(i => (byte)(i / Environment.SystemPageSize))]);
        using var mapped = MemoryMappedFile.CreateFromFile(_file, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        using var view = mapped.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        Touch(view);
        Assert.True(ResidentKib() > 0);

        FileMappings.Release(_file + "x");
        Assert.True(ResidentKib() > 0);
        FileMappings.Release(_file);

        Assert.Equal(0, ResidentKib());
        Touch(view);
    }

    [Fact]
    public void Mappings_of_other_files_and_for_writing_stay()
    {
        File.WriteAllBytes(_file, new byte[Environment.SystemPageSize]);
        using var mapped = MemoryMappedFile.CreateFromFile(_file, FileMode.Open);
        using var view = mapped.CreateViewAccessor();
        view.Write(0, (byte)7);

        FileMappings.Release(_file);
        FileMappings.Release("/no/such/file");

        Assert.True(ResidentKib() > 0);
        Assert.Equal(7, view.ReadByte(0));
    }

    [Fact]
    public void A_private_mapping_is_released_unless_the_process_has_written_to_it()
    {
        var length = (nuint)(Pages * Environment.SystemPageSize);
        File.WriteAllBytes(_file, new byte[(int)length]);
        using var file = File.OpenHandle(_file);
        // PROT_READ | PROT_WRITE, MAP_PRIVATE
        var address = mmap(0, length, 3, 2, file.DangerousGetHandle().ToInt32(), 0);
        try
        {
            Marshal.WriteByte(address, 7);
            Assert.Equal(0, mprotect(address, length, 1));
            FileMappings.Release(_file);
            Assert.Equal(7, Marshal.ReadByte(address));
        }
        finally
        {
            _ = munmap(address, length);
        }

        address = mmap(0, length, 1, 2, file.DangerousGetHandle().ToInt32(), 0);
        try
        {
            for (var page = 0; page < Pages; page++)
                Assert.Equal(0, Marshal.ReadByte(address, page * Environment.SystemPageSize));
            Assert.True(ResidentKib() > 0);
            FileMappings.Release(_file);
            Assert.Equal(0, ResidentKib());
        }
        finally
        {
            _ = munmap(address, length);
        }
    }

    [DllImport("libc")]
    private static extern nint mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [DllImport("libc")]
    private static extern int mprotect(nint address, nuint length, int protection);

    [DllImport("libc")]
    private static extern int munmap(nint address, nuint length);

    private static void Touch(MemoryMappedViewAccessor view)
    {
        for (var page = 0; page < Pages; page++)
            Assert.Equal(page, view.ReadByte((long)page * Environment.SystemPageSize));
    }

    /// <summary>Of the mappings of the file, by smaps (proc_pid_smaps(5)).</summary>
    private long ResidentKib()
    {
        var isOfFile = false;
        var resident = 0L;
        foreach (var line in File.ReadLines("/proc/self/smaps"))
        {
            if (line.EndsWith(_file, StringComparison.Ordinal))
                isOfFile = true;
            else if (line.StartsWith("Rss:", StringComparison.Ordinal) && isOfFile)
                (resident, isOfFile) = (resident + long.Parse(line[4..^2].Trim(), System.Globalization.CultureInfo.InvariantCulture), false);
        }
        return resident;
    }
}
