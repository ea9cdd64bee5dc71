using System.Globalization;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Daemon;

/// <summary><c>ravel info</c>.</summary>
internal static class InfoCommand
{
    public static CliCommand Create() => new("info", "Show the server, its node and what is left of it")
    {
        Examples = ["ravel info", "ravel info --json | jq .node.allocated"],
        Run = async session =>
        {
            var server = await session.Api.GetServerAsync(session.Cancelled);
            if (session.Json)
            {
                JsonOutput.Document(session.Terminal, server);
                return 0;
            }
            foreach (var (name, value) in Lines(session.Api.Address.Url, server))
                session.Terminal.Out.WriteLine($"{session.Terminal.Bold($"{name}:".PadRight(10))} {SafeText.Of(value)}");
            return 0;
        },
    };

    private static IEnumerable<(string Name, string Value)> Lines(Uri url, ServerInfo server)
    {
        yield return ("Server", $"{url.GetLeftPart(UriPartial.Authority)}, version {server.Version}");
        if (server.Node is not { } node)
        {
            yield return ("Node", "not connected");
            yield break;
        }
        yield return ("Node", $"{node.Id} ({node.Architecture})");
        yield return ("VMM", $"{node.Vmm} {node.VmmVersion}, {node.Accelerator}");
        yield return ("Machines", node.Allocated.Machines.ToString(CultureInfo.InvariantCulture));
        yield return ("CPUs", $"{node.Allocated.Cpus} of {node.Capacity.Cpus} allocated");
        yield return ("Memory", $"{Mebibytes(node.Allocated.MemoryMb)} of {Mebibytes(node.Capacity.MemoryMb)} allocated");
        yield return ("Disk", $"{Mebibytes(node.Allocated.DiskMb)} of {Mebibytes(node.Capacity.DiskMb)} allocated");
    }

    private static string Mebibytes(long mebibytes) => mebibytes < 10 * 1024
        ? $"{mebibytes} MiB"
        : (mebibytes / 1024.0).ToString("0.# 'GiB'", CultureInfo.InvariantCulture);
}
