using System.Net.Sockets;
using System.Security.Authentication;

namespace Ravel.Images.Registry;

/// <summary>What a lost or refused connection means, and what can be done about it.</summary>
internal static class RegistryFailure
{
    private const int MaxLine = 1000;

    /// <summary>Failures that a later try may not have: lost and refused connections, stalls; not a certificate nobody trusts.</summary>
    public static bool IsTransient(Exception error) => error switch
    {
        HttpRequestException { HttpRequestError: HttpRequestError.NameResolutionError } => false,
        // A connection that is cut during the handshake is lost; one whose certificate is refused stays so.
        HttpRequestException { HttpRequestError: HttpRequestError.SecureConnectionError } => error.InnerException is not AuthenticationException,
        HttpRequestException { InnerException: RefusedAddressException } => false,
        HttpRequestException or IOException or TimeoutException or SocketException => true,
        _ => false,
    };

    /// <param name="authority">Who was spoken to.</param>
    public static string Explain(Exception error, string authority, RegistryOptions options) => error switch
    {
        HttpRequestException { InnerException: RefusedAddressException inner } => inner.Message,
        HttpRequestException { InnerException: AuthenticationException inner } => Certificate(inner.Message, authority, options),
        HttpRequestException { HttpRequestError: HttpRequestError.NameResolutionError } =>
            $"there is no host of the name {authority}; check the spelling and this host's DNS",
        HttpRequestException { InnerException: SocketException { SocketErrorCode: SocketError.ConnectionRefused } } =>
            "the connection is refused; check the port, and that the registry runs",
        HttpRequestException { HttpRequestError: HttpRequestError.ConfigurationLimitExceeded } => "its answer has too many headers",
        TimeoutException => error.Message,
        _ => OneLine(error.InnerException is { } inner ? $"{error.Message} {inner.Message}" : error.Message),
    };

    // .NET says in words what was wrong with a certificate, naming values of SslPolicyErrors and X509ChainStatusFlags.
    private static string Certificate(string problem, string authority, RegistryOptions options)
    {
        if (problem.Contains("RemoteCertificateNameMismatch", StringComparison.Ordinal))
            return $"its certificate is for another name than {authority}; use the name that is in it";
        if (problem.Contains("NotTimeValid", StringComparison.Ordinal))
            return "its certificate has expired or is not valid yet; have it renewed, or set this host's clock";
        if (problem.Contains("RemoteCertificate", StringComparison.Ordinal) || problem.Contains("certificate", StringComparison.OrdinalIgnoreCase))
        {
            return $"its certificate is signed by nobody trusted here; name its authority in {options.SettingsFile}: "
                + $"{{\"registries\": {{\"{authority}\": {{\"ca\": \"FILE\"}}}}}}";
        }
        return $"it does not speak TLS ({OneLine(problem)}); if it is to be trusted without, say so in {options.SettingsFile}: "
            + $"{{\"registries\": {{\"{authority}\": {{\"http\": true}}}}}}";
    }

    /// <summary>Messages are one line, and a stranger's words in them are short and printable.</summary>
    public static string OneLine(string text)
    {
        var line = new string([.. text.Trim().Select(c => char.IsControl(c) ? ' ' : c)]);
        return line.Length > MaxLine ? line[..MaxLine] + "…" : line;
    }
}
