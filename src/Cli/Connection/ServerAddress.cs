using Ravel.Cli.Errors;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

/// <summary>Where the API is and how to prove who asks.</summary>
/// <param name="Url">Ends in a slash.</param>
/// <param name="Token">Null when there is none to send.</param>
/// <param name="UpCommand">What brings it up.</param>
internal sealed record ServerAddress(Uri Url, string? Token, string UpCommand = "ravel up")
{
    /// <summary>
    /// Finds the server. The first that says something wins: <c>--server</c>, <c>--data</c>, <c>RAVEL_SERVER</c>, <c>RAVEL_DATA</c>, the
    /// last <c>up</c>, the default data directory. A token given by flag always counts; <c>RAVEL_TOKEN</c> counts unless
    /// <c>--data</c> names another daemon than the one that it is for.
    /// </summary>
    public static ServerAddress Find(
        string? server, string? data, string? token, Surroundings around, Func<string, ClientConfig?> readClient)
    {
        var url = server ?? (data is null ? around.Setting("RAVEL_SERVER") : null);
        if (url is not null)
            return new ServerAddress(ParseUrl(url), token ?? around.Setting("RAVEL_TOKEN") ?? TokenOfSameServer(url, data, around, readClient));

        var directory = DataDirectory.ForUse(data, around);
        var up = directory == DataDirectory.ForUp(null, around) ? "ravel up" : $"ravel up --data {directory}";
        var client = readClient(directory)
            ?? throw new CliException("server", $"none has been brought up in {directory}", $"is it up? run: {up}");
        return new ServerAddress(
            ParseUrl(client.Server), token ?? (data is null ? around.Setting("RAVEL_TOKEN") : null) ?? client.Token, up);
    }

    private static Uri ParseUrl(string text)
    {
        var withScheme = text.Contains("://", StringComparison.Ordinal) ? text : $"http://{text}";
        if (!Uri.TryCreate(withScheme.TrimEnd('/') + "/", UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
            throw CliException.Usage("server", $"'{text}' is not an address", "write e.g. http://127.0.0.1:7717");
        return url;
    }

    /// <summary>A token is only ever sent to the server whose client.json it stands in.</summary>
    private static string? TokenOfSameServer(string url, string? data, Surroundings around, Func<string, ClientConfig?> readClient) =>
        readClient(DataDirectory.ForUse(data, around)) is { } client && ParseUrl(client.Server) == ParseUrl(url) ? client.Token : null;
}
