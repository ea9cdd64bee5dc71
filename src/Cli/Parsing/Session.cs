using System.CommandLine;
using Ravel.Cli.Connection;
using Ravel.Cli.Output;

namespace Ravel.Cli.Parsing;

/// <summary>One invocation of <c>ravel</c>: its arguments, its streams, and the way to the server once it is needed.</summary>
internal sealed class Session : IDisposable
{
    private ApiClient? _api;

    public Session(ParseResult arguments, Terminal terminal, Surroundings around, Interrupts interrupts, TimeProvider time)
    {
        Arguments = arguments;
        Terminal = terminal;
        Around = around;
        Interrupts = interrupts;
        Time = time;
    }

    public ParseResult Arguments { get; }

    public Terminal Terminal { get; }

    public Surroundings Around { get; }

    public Interrupts Interrupts { get; }

    public TimeProvider Time { get; }

    public CancellationToken Cancelled => Interrupts.Cancelled;

    public bool Json => Get(GlobalOptions.Json);

    /// <summary>The API client; the server is looked for at the first use.</summary>
    public ApiClient Api => _api ??= Connect();

    public T? Get<T>(Option<T> option) => Arguments.GetValue(option);

    public T Get<T>(Argument<T> argument) => Arguments.GetValue(argument)!;

    public void Dispose() => _api?.Dispose();

    private ApiClient Connect()
    {
        var address = ServerAddress.Find(
            Get(GlobalOptions.Server), Get(GlobalOptions.Data), Get(GlobalOptions.Token), Around, DataDirectory.ReadClient);
        return new ApiClient(address, Get(GlobalOptions.Namespace));
    }
}
