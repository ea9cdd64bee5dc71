using Ravel.Cli.Output;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Kernels;

/// <summary>How the progress of a build is shown, on standard error.</summary>
internal interface IKernelBuildView
{
    void Report(KernelProgress progress);

    /// <summary>No more follows; takes away what should not stay. May be called twice.</summary>
    void End();
}

/// <summary>On a terminal one line, redrawn in place; in a pipe a line for each phase.</summary>
internal sealed class KernelBuildView : IKernelBuildView
{
    private const int BarWidth = 30;
    private readonly TextWriter _to;
    private readonly bool _isTerminal;
    private string? _phase;
    private bool _isDrawn;

    private KernelBuildView(TextWriter to, bool isTerminal)
    {
        _to = to;
        _isTerminal = isTerminal;
    }

    public static KernelBuildView For(Terminal terminal) => new(terminal.Error, terminal.ErrorIsTerminal);

    public void Report(KernelProgress progress)
    {
        if (progress.Phase is not { } phase)
            return;
        if (_isTerminal)
        {
            _to.Write($"\r\e[2K{Words(phase)}{Bar(progress)}");
            _to.Flush();
            _isDrawn = true;
        }
        else if (phase != _phase)
        {
            _to.WriteLine($"{Words(phase)}…");
        }
        _phase = phase;
    }

    public void End()
    {
        if (!_isDrawn)
            return;
        _to.Write("\r\e[2K");
        _to.Flush();
        _isDrawn = false;
    }

    private static string Words(string phase) => phase switch
    {
        "wait" => "waiting for another build",
        "source" => "downloading the kernel's source",
        "unpack" => "unpacking the source",
        "configure" => "configuring",
        "compile" => "compiling (about ten minutes of two cores)",
        "store" => "storing",
        _ => SafeText.Of(phase),
    };

    private static string Bar(KernelProgress progress)
    {
        if (progress is not { Done: { } done, Total: > 0 and var total })
            return "…";
        var filled = (int)(Math.Clamp((double)done / total, 0, 1) * BarWidth);
        return $" {new string('━', filled)}{new string('─', BarWidth - filled)} {100L * Math.Clamp(done, 0, total) / total} %";
    }
}
