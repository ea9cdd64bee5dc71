using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Ravel.FakeFirecracker;

/// <summary>
/// The files of a snapshot. The state is what the VM was told; the memory has the guest's size, a first page that is never zero, and one page more
/// written by each snapshot, so that a diff laid onto the wrong base, or onto none, shows.
/// </summary>
internal sealed record FakeSnapshot(
    string Format,
    int MemoryMib,
    int Generation,
    Dictionary<string, JsonObject> Drives,
    Dictionary<string, JsonObject> Networks,
    JsonObject Machine,
    JsonObject? Balloon,
    string? Vsock,
    string? Configure)
{
    private const int PageBytes = 4096;
    private const string FirstPage = "memory";

    public static FakeSnapshot? TryRead(string path)
    {
        try
        {
            return JsonSerializer.Deserialize<FakeSnapshot>(File.ReadAllText(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    /// <summary>As snapshot_memory_to_file of src/vmm/src/vstate/vm.rs: a file of the right size is written into, any other emptied first.</summary>
    public void Write(string statePath, string memoryPath, bool isDiff)
    {
        File.WriteAllText(statePath, JsonSerializer.Serialize(this));
        using var memory = new FileStream(memoryPath, FileMode.OpenOrCreate, FileAccess.ReadWrite);
        var length = (long)MemoryMib << 20;
        if (memory.Length != length)
            memory.SetLength(0);
        memory.SetLength(length);
        if (!isDiff)
            WritePage(memory, 0, FirstPage);
        WritePage(memory, Generation, $"saved {Generation}");
    }

    /// <summary>Why a VM cannot run on from this memory, or null.</summary>
    public string? MemoryFault(string path)
    {
        using var memory = File.OpenRead(path);
        var start = new byte[FirstPage.Length];
        return memory.Length != (long)MemoryMib << 20 || memory.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) < start.Length
            || Encoding.ASCII.GetString(start) != FirstPage
            ? "the guest's memory is not whole"
            : null;
    }

    private static void WritePage(FileStream memory, int page, string text)
    {
        memory.Position = (long)page * PageBytes;
        memory.Write(Encoding.ASCII.GetBytes(text));
    }
}
