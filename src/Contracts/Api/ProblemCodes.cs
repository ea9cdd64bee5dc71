namespace Ravel.Contracts.Api;

/// <summary>
/// Every stable problem code of the API (<c>code</c> of an RFC 9457 problem), with the HTTP status it maps to and the
/// exit code of <c>ravel</c>. Adding is fine; renaming breaks clients.
/// </summary>
public static class ProblemCodes
{
    public const string InvalidRequest = "invalid-request";
    public const string MalformedJson = "malformed-json";
    public const string Unauthorized = "unauthorized";
    public const string Forbidden = "forbidden";
    public const string NotFound = "not-found";
    public const string AppNotFound = "app-not-found";
    public const string MachineNotFound = "machine-not-found";
    public const string NamespaceNotFound = "namespace-not-found";
    public const string ImageNotFound = "image-not-found";
    public const string MethodNotAllowed = "method-not-allowed";
    public const string UnsupportedMediaType = "unsupported-media-type";
    public const string PayloadTooLarge = "payload-too-large";
    public const string NameTaken = "name-taken";
    public const string IllegalState = "illegal-state";
    public const string AppNotEmpty = "app-not-empty";
    public const string NamespaceNotEmpty = "namespace-not-empty";
    public const string ImageInUse = "image-in-use";
    public const string VolumeNotFound = "volume-not-found";
    public const string VolumeInUse = "volume-in-use";
    public const string LeaseHeld = "lease-held";
    public const string LeaseNotFound = "lease-not-found";
    public const string IdempotencyMismatch = "idempotency-mismatch";
    public const string PortTaken = "port-taken";
    public const string InsufficientCapacity = "insufficient-capacity";
    public const string ImageDamaged = "image-damaged";
    public const string ImageInvalid = "image-invalid";
    public const string ImagePullFailed = "image-pull-failed";
    public const string RegistryUnauthorized = "registry-unauthorized";
    public const string KernelNotFound = "kernel-not-found";
    public const string KernelInUse = "kernel-in-use";
    public const string KernelInvalid = "kernel-invalid";
    public const string KernelBuildFailed = "kernel-build-failed";
    public const string VmmFailed = "vmm-failed";
    public const string GuestFailed = "guest-failed";
    public const string DiskFull = "disk-full";
    public const string NodeUnavailable = "node-unavailable";
    public const string NodeLost = "node-lost";
    public const string NodeRequired = "node-required";
    public const string NodeRemoved = "node-removed";
    public const string JoinTokenInvalid = "join-token-invalid";
    public const string DatabaseUnavailable = "database-unavailable";
    public const string Timeout = "timeout";
    public const string Internal = "internal";

    /// <summary>The HTTP status of a code; 500 for one that is not in the catalogue.</summary>
    public static int StatusOf(string code) => code switch
    {
        InvalidRequest or MalformedJson or NodeRequired => 400,
        Unauthorized => 401,
        Forbidden or NodeRemoved or JoinTokenInvalid => 403,
        NotFound or AppNotFound or MachineNotFound or NamespaceNotFound or ImageNotFound or VolumeNotFound or LeaseNotFound or KernelNotFound => 404,
        MethodNotAllowed => 405,
        Timeout => 408,
        NameTaken or IllegalState or AppNotEmpty or NamespaceNotEmpty or ImageInUse or VolumeInUse or LeaseHeld or ImageDamaged or PortTaken or KernelInUse => 409,
        PayloadTooLarge => 413,
        UnsupportedMediaType => 415,
        IdempotencyMismatch or ImageInvalid or ImagePullFailed or RegistryUnauthorized or KernelInvalid or KernelBuildFailed => 422,
        InsufficientCapacity or NodeUnavailable or NodeLost or DatabaseUnavailable or DiskFull => 503,
        _ => 500,
    };
}
