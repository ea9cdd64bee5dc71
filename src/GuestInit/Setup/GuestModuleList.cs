using System.Text;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Setup;

/// <summary>The modules the initramfs ships, in load order: lines <c>STAGE FILE</c> of /modules/list.</summary>
internal sealed class GuestModuleList
{
    private const string ListPath = "/modules/list";
    private const int MaxList = 64 * 1024;

    private readonly List<(string Stage, string Path)> _modules;

    private GuestModuleList(List<(string Stage, string Path)> modules)
    {
        _modules = modules;
    }

    public static GuestModuleList Read() => Parse(Encoding.UTF8.GetString(FileSystems.ReadFile(ListPath, MaxList) ?? []));

    internal static GuestModuleList Parse(string list)
    {
        var modules = new List<(string, string)>();
        foreach (var line in list.Split('\n'))
        {
            var space = line.IndexOf(' ');
            if (space > 0)
                modules.Add((line[..space], line[(space + 1)..]));
        }
        return new GuestModuleList(modules);
    }

    internal IEnumerable<string> Paths(string stage) => _modules.Where(m => m.Stage == stage).Select(m => m.Path);

    /// <summary>Loads a stage once, and gives the files' memory back.</summary>
    public void Load(string stage)
    {
        foreach (var path in Paths(stage).ToArray())
        {
            Machine.LoadModule(path);
            FileSystems.Unlink(path);
        }
        _modules.RemoveAll(m => m.Stage == stage);
    }
}
