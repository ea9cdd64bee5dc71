using System.Net;

namespace Ravel.Images.Registry;

/// <summary>Which answers a later try may better, and how long to wait for it.</summary>
internal static class RegistryRetry
{
    public static bool IsTransient(HttpStatusCode status) =>
        status is HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout or HttpStatusCode.InternalServerError
            or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout;

    /// <param name="attempt">How many tries failed so far, from 1.</param>
    /// <param name="retryAfter">What the registry asked for; honoured up to the longest pause.</param>
    /// <param name="random">In [0, 1): spreads the tries of many hosts.</param>
    public static TimeSpan Delay(RegistryOptions options, int attempt, TimeSpan? retryAfter, double random)
    {
        if (retryAfter is { } asked && asked > TimeSpan.Zero)
            return asked < options.MaxRetryDelay ? asked : options.MaxRetryDelay;
        var doubled = options.FirstRetryDelay * Math.Pow(2, Math.Min(attempt - 1, 20)) * (0.5 + random);
        return doubled < options.MaxRetryDelay ? doubled : options.MaxRetryDelay;
    }
}
