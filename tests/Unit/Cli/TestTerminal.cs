using System.Text;
using Ravel.Cli.Output;

namespace Ravel.Unit.Cli;

/// <summary>Catches what a command prints.</summary>
internal sealed class TestTerminal : IDisposable
{
    private readonly MemoryStream _output = new();
    private readonly StringWriter _error = new() { NewLine = "\n" };

    public TestTerminal(bool isTerminal = false, params (string Name, string Value)[] environment) =>
        Terminal = Terminal.Over(_output, _error, isTerminal, name => environment.FirstOrDefault(e => e.Name == name).Value);

    public Terminal Terminal { get; }

    public string Output
    {
        get
        {
            Terminal.Flush();
            return Encoding.UTF8.GetString(_output.ToArray());
        }
    }

    public string Error => _error.ToString();

    public void Dispose() => Terminal.Dispose();
}
