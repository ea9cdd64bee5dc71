using System.Diagnostics;
using System.Globalization;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.Scale;

namespace Ravel.Bench.Placement;

/// <summary>
/// The server role alone in a process of its own, so that its memory and time can be told from those of the nodes and clients: this program,
/// started again. It ends with its standard input.
/// </summary>
internal sealed class ServerUnderTest : IAsyncDisposable
{
    private readonly Process _process;

    private ServerUnderTest(Process process, Uri address, string token) => (_process, Address, Token) = (process, address, token);

    /// <summary>The other side: what the process of the server runs.</summary>
    public static BenchCommand Tool { get; } = new("placement-server", "DATABASE NODES PORT", "the server that `bench placement` measures", ServeAsync);

    public Uri Address { get; }

    public string Token { get; }

    public int Pid => _process.Id;

    /// <summary>Returns when it has reached every node.</summary>
    /// <param name="database">As <c>--database</c> takes it.</param>
    /// <param name="nodes">How many there are.</param>
    /// <param name="port">Where they are.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public static async Task<ServerUnderTest> StartAsync(string database, int nodes, int port, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!)
        {
            ArgumentList = { Tool.Name, database, nodes.ToString(CultureInfo.InvariantCulture), port.ToString(CultureInfo.InvariantCulture) },
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        // As raveld is set.
        start.Environment["DOTNET_gcServer"] = "0";
#pragma warning disable RS0030 // Ended by Dispose, or with this process.
        var process = Process.Start(start)!;
#pragma warning restore RS0030
        var line = await process.StandardOutput.ReadLineAsync(cancellationToken) ?? throw new InvalidOperationException("The server did not start.");
        var words = line.Split(' ');
        return new ServerUnderTest(process, new Uri(words[0]), words[1]);
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private static async Task<int> ServeAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        if (arguments is not [var database, var nodes, var port] || !DatabaseAddress.TryParse(database, out var address, out _))
            throw new BenchUsageException("it is started by bench placement");
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Logging.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace).SetMinimumLevel(LogLevel.Error);
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        builder.Services.AddControlPlane(new ControlPlaneOptions { Database = address, Version = "bench" });
        await using var app = builder.Build();
        var secrets = await app.Services.EnsureBootstrapAsync(cancellationToken);
        app.MapControlPlane();
        await app.StartAsync(cancellationToken);
        var directory = app.Services.GetRequiredService<NodeDirectory>();
        var count = int.Parse(nodes, CultureInfo.InvariantCulture);
        for (var i = 0; i < count; i++)
            directory.Add(SimulatedNodes.EndPoint(PlacementBenchmark.NodeName(i), int.Parse(port, CultureInfo.InvariantCulture)));
        while (directory.Reached.Count < count)
            await Task.Delay(50, cancellationToken);
        var at = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        Console.WriteLine($"{at} {secrets!.AdministratorSecret}");
        await Console.In.ReadToEndAsync(cancellationToken);
        return 0;
    }
}
