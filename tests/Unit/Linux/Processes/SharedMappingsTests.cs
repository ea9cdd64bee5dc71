using System.IO.MemoryMappedFiles;
using Ravel.Linux.Processes;

namespace Ravel.Unit.Linux.Processes;

public sealed class SharedMappingsTests : IDisposable
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

        SharedMappings.Release(_file + "x");
        Assert.True(ResidentKib() > 0);
        SharedMappings.Release(_file);

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

        SharedMappings.Release(_file);
        SharedMappings.Release("/no/such/file");

        Assert.True(ResidentKib() > 0);
        Assert.Equal(7, view.ReadByte(0));
    }

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
