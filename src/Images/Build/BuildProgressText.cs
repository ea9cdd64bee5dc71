using System.Globalization;

namespace Ravel.Images;

/// <summary>Progress of a build as lines for people: what has arrived of how much, at most once a second.</summary>
internal sealed class BuildProgressText(TextWriter output, TimeProvider time) : IProgress<ImageProgress>, IDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, ImageProgress> _layers = [];
    private long _last = time.GetTimestamp();
    private bool _ended;

    public void Report(ImageProgress value)
    {
        lock (_lock)
        {
            if (_ended)
                return;
            if (value.LayerDigest is not null)
                _layers[value.LayerDigest] = value;
            if (value.Phase != "build" && time.GetElapsedTime(_last) < Pause)
                return;
            _last = time.GetTimestamp();
            output.WriteLine(value.Phase == "build"
                ? $"read {Megabytes(_layers.Values.Sum(layer => layer.ReceivedBytes))} MB; writing directories"
                : $"read {Megabytes(_layers.Values.Sum(layer => layer.ReceivedBytes))} MB of {_layers.Count} layer{(_layers.Count == 1 ? "" : "s")}");
        }
    }

    public void Dispose()
    {
        lock (_lock)
            _ended = true;
    }

    private static string Megabytes(long bytes) => (bytes / 1e6).ToString("0.0", CultureInfo.InvariantCulture);
}
