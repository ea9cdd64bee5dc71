using System.Net;
using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.ControlPlane;
using Ravel.Linux.Processes;

namespace Ravel.Daemon;

/// <summary>
/// <c>client.json</c> in the data directory: where the server is and root's token, readable by the owner alone. What
/// <c>ravel</c> looks for; its presence with a live pid says that the server is ready.
/// </summary>
internal static class ClientFile
{
    public static IPEndPoint? TryReadEndPoint(string dataDirectory) =>
        TryRead(dataDirectory) is { } client
        && Uri.TryCreate(client.Server, UriKind.Absolute, out var uri)
        && IPAddress.TryParse(uri.Host.Trim('[', ']'), out var address)
            ? new IPEndPoint(address, uri.Port)
            : null;

    /// <summary>Writes the file anew with the token it had, the one just made, or, when both are lost, a fresh one.</summary>
    public static async Task WriteAsync(string dataDirectory, string server, BootstrapResult? bootstrap, IServiceProvider services)
    {
        var token = await KnownTokenAsync(dataDirectory, bootstrap, services)
            ?? (await services.RenewBootstrapTokensAsync(CancellationToken.None)).AdministratorSecret;
        await WriteAsync(dataDirectory, server, token);
    }

    /// <summary>The same for one of several servers: a token that is lost, or was made by another server, is not taken from that one.</summary>
    public static async Task WriteForServerAsync(string dataDirectory, string server, BootstrapResult? bootstrap, IServiceProvider services)
    {
        var token = await KnownTokenAsync(dataDirectory, bootstrap, services)
            ?? await services.AddAdministratorSecretAsync("server-host", CancellationToken.None);
        await WriteAsync(dataDirectory, server, token);
    }

    private static async Task<string?> KnownTokenAsync(string dataDirectory, BootstrapResult? bootstrap, IServiceProvider services)
    {
        var token = bootstrap?.AdministratorSecret ?? TryRead(dataDirectory)?.Token;
        return token is not null && await services.IsAdministratorSecretAsync(token, CancellationToken.None) ? token : null;
    }

    private static async Task WriteAsync(string dataDirectory, string server, string token)
    {
        var self = ProcessIdentity.Current;
        var client = new ClientConfig
        {
            Server = server,
            Token = token,
            DataDirectory = dataDirectory,
            Pid = self.Pid,
            PidStartTime = self.StartTime,
        };

        var path = PathIn(dataDirectory);
        var temporary = path + ".new";
        File.Delete(temporary);
        await using (var file = new FileStream(temporary, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }))
        {
            await JsonSerializer.SerializeAsync(file, client, ApiJson.Default.ClientConfig);
            file.Flush(flushToDisk: true);
        }
        File.Move(temporary, path, overwrite: true);
    }

    private static ClientConfig? TryRead(string dataDirectory)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(PathIn(dataDirectory)), ApiJson.Default.ClientConfig);
        }
        catch (Exception e) when (e is IOException or JsonException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static string PathIn(string dataDirectory) => Path.Combine(dataDirectory, "client.json");
}
