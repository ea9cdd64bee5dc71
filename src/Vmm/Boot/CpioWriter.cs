using System.Globalization;
using System.Text;

namespace Ravel.Vmm.Boot;

/// <summary>
/// Writes the "newc" cpio archive the kernel unpacks as its first root (kernel: Documentation/driver-api/early-userspace/buffer-format.rst).
/// The same entries give the same bytes: all belong to root and have no time.
/// </summary>
internal sealed class CpioWriter
{
    private const int TypeDirectory = 0x4000;
    private const int TypeFile = 0x8000;
    private const int TypeCharacterDevice = 0x2000;

    private readonly Stream _output;
    private long _written;
    private int _inode;

    public CpioWriter(Stream output)
    {
        _output = output;
    }

    public void Directory(string path) => Entry(path, TypeDirectory | 0x1ed, 2, [], 0, 0);

    /// <param name="path">Without a leading slash; its directories come first.</param>
    /// <param name="mode">Permission bits.</param>
    /// <param name="content">The whole file.</param>
    public void File(string path, int mode, ReadOnlySpan<byte> content) => Entry(path, TypeFile | mode, 1, content, 0, 0);

    public void CharacterDevice(string path, int mode, int major, int minor) => Entry(path, TypeCharacterDevice | mode, 1, [], major, minor);

    /// <summary>Ends the archive.</summary>
    public void Complete()
    {
        _inode = -1;
        Entry("TRAILER!!!", 0, 1, [], 0, 0);
        Pad(512);
    }

    private void Entry(string path, int mode, int links, ReadOnlySpan<byte> content, int major, int minor)
    {
        var name = Encoding.UTF8.GetBytes(path);
        var header = new StringBuilder("070701", 110);
        ReadOnlySpan<int> fields =
            [++_inode, mode, 0, 0, links, 0, content.Length, 0, 0, major, minor, name.Length + 1, 0];
        foreach (var field in fields)
            header.Append(field.ToString("x8", CultureInfo.InvariantCulture));
        Write(Encoding.ASCII.GetBytes(header.ToString()));
        Write(name);
        Write([0]);
        Pad(4);
        Write(content);
        Pad(4);
    }

    private void Write(ReadOnlySpan<byte> data)
    {
        _output.Write(data);
        _written += data.Length;
    }

    private void Pad(int alignment)
    {
        Span<byte> zeros = stackalloc byte[512];
        zeros.Clear();
        Write(zeros[..(int)((alignment - (_written % alignment)) % alignment)]);
    }
}
