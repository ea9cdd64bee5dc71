using Ravel.Cli.Output;
using Ravel.Cli.Processes;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Images;

/// <summary>How the progress of a pull or an import is shown, on standard error.</summary>
internal interface IPullView
{
    void Report(PullProgress progress);

    /// <summary>No more follows; takes away what should not stay.</summary>
    void End();
}

/// <summary>Chooses the view for the stream at hand.</summary>
internal static class PullView
{
    /// <param name="terminal">Where it goes.</param>
    /// <param name="quietInPipe">Say nothing where there is no terminal, because the output belongs to a workload.</param>
    public static async Task<IPullView> ForAsync(Terminal terminal, bool quietInPipe, CancellationToken cancellationToken)
    {
        if (!terminal.ErrorIsTerminal)
            return quietInPipe ? new NoPullView() : new PullLines(terminal.Error);
        return new PullBars(terminal.Error, terminal.ErrorHasColour, await WatchedTerminalSize.StartAsync(cancellationToken), TimeProvider.System);
    }
}

internal sealed class NoPullView : IPullView
{
    public void Report(PullProgress progress)
    {
    }

    public void End()
    {
    }
}

/// <summary>For a pipe: a line for each phase and each layer that is there.</summary>
internal sealed class PullLines(TextWriter to) : IPullView
{
    private readonly HashSet<string> _done = [];
    private string? _phase;

    public void Report(PullProgress progress)
    {
        if (progress.Layer is { } layer)
        {
            if (progress.Total is { } total && progress.Received >= total && _done.Add(layer))
                to.WriteLine($"{LayerName.Short(layer)} {Humane.Bytes(total)}");
        }
        else if (progress.Phase is { } phase)
        {
            var line = progress.Registry is { } registry ? $"{phase} from {registry}" : phase;
            if (line != _phase)
                to.WriteLine(SafeText.Of(line));
            _phase = line;
        }
    }

    public void End()
    {
    }
}

internal static class LayerName
{
    /// <summary>The first 12 digits of a digest, as Docker shows layers.</summary>
    public static string Short(string digest)
    {
        var hex = digest[(digest.IndexOf(':') + 1)..];
        return SafeText.Of(hex.Length > 12 ? hex[..12] : hex);
    }
}
