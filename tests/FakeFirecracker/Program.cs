using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Ravel.FakeFirecracker;

// Stands in for the firecracker binary in tests of the driver: the same command line, the same API contract, and a scripted guest that
// speaks the real link where Firecracker would run a kernel. What the contract forbids is refused in Firecracker's words.
const int MaxBody = 51_200;

string? id = null;
string? socketPath = null;
for (var i = 0; i < args.Length; i++)
{
    var (name, value) = args[i].Split('=', 2) is [var left, var right] ? (left, right) : (args[i], null);
    switch (name)
    {
        case "--version":
            Console.WriteLine($"Firecracker v{FakeMicroVm.Version}");
            return 0;
        case "--snapshot-version":
            Console.WriteLine($"v{FakeMicroVm.SnapshotFormat}");
            return 0;
        case "--describe-snapshot":
            if (FakeSnapshot.TryRead(value ?? args[++i]) is not { } described)
            {
                Console.Error.WriteLine("Error: SnapshotVersion(InvalidMagic)");
                return 1;
            }
            Console.WriteLine($"v{described.Format}");
            return 0;
        case "--id":
            id = value ?? args[++i];
            break;
        case "--api-sock":
            socketPath = value ?? args[++i];
            break;
        case "--start-time-us" or "--start-time-cpu-us" or "--parent-cpu-time-us":
            i += value is null ? 1 : 0;
            break;
        default:
            Console.Error.WriteLine($"Arguments parsing error: Found argument '{args[i]}' which wasn't expected, or isn't valid in this context.");
            return 153;
    }
}
if (id is null || socketPath is null || id.Length is 0 or > 64 || !id.All(c => char.IsAsciiLetterOrDigit(c) || c == '-'))
{
    Console.Error.WriteLine($"Invalid instance ID: {id}");
    return 1;
}
if (File.Exists(socketPath))
{
    Console.Error.WriteLine($"RunWithApiError error: Failed to open the API socket at: {socketPath}. Check that it is not already used.");
    return 1;
}

var contract = Contract.Load();
var vm = new FakeMicroVm(id);
var gate = new SemaphoreSlim(1);
var builder = WebApplication.CreateSlimBuilder();
builder.Logging.ClearProviders();
builder.WebHost.ConfigureKestrel(options =>
{
    options.ListenUnixSocket(Path.GetFullPath(socketPath));
    options.AddServerHeader = false;
});
var app = builder.Build();
app.Run(async context =>
{
    await gate.WaitAsync();
    try
    {
        await HandleAsync(context);
    }
    finally
    {
        gate.Release();
    }
});
await app.RunAsync();
return 0;

async Task HandleAsync(HttpContext context)
{
    var method = context.Request.Method;
    var path = context.Request.Path.Value ?? "/";
    if (method is not ("GET" or "PUT" or "PATCH" or "DELETE"))
    {
        await RefuseAsync(context, "error", $"Invalid HTTP Method: {method}");
        return;
    }
    if (context.Request.ContentLength > MaxBody)
    {
        await RefuseAsync(context, "error", $"HTTP payload exceeds limit: {context.Request.ContentLength}");
        return;
    }
    if (contract.Find(method, path) is not { } operation)
    {
        await RefuseAsync(context, "fault_message", $"Invalid request method and/or path: {method} {path}.");
        return;
    }
    try
    {
        if (operation.Body is null)
        {
            CheckPhase(operation);
            await context.Response.WriteAsJsonAsync(vm.Describe(path));
            return;
        }
        var body = await ReadAsync(context, method);
        Check(operation, body);
        vm.Apply(operation.Path, body);
        context.Response.StatusCode = 204;
    }
    catch (FaultException e)
    {
        await RefuseAsync(context, "fault_message", e.Message);
        if (!e.IsFatal)
            return;
        await context.Response.CompleteAsync();
        Environment.Exit(1);
    }
}

void Check(Operation operation, JsonElement body)
{
    if (operation.PathId is { } pathId && !pathId.All(c => char.IsAsciiLetterOrDigit(c) || c == '_'))
        throw new FaultException("API Resource IDs can only contain alphanumeric characters and underscores.");
    if (contract.Violation(operation.Body!, body) is { } words)
        throw new FaultException($"An error occurred when deserializing the json body of a request: {words}.");
    if (operation.PathId is not null && !body.EnumerateObject().Any(p => p.Name is "drive_id" or "iface_id" && p.Value.GetString() == operation.PathId))
        throw new FaultException("The id from the path does not match the id from the body!");
    CheckPhase(operation);
    foreach (var file in contract.Files(operation.Body!, body))
    {
        if (!vm.IsVisible(file))
            throw new FaultException($"{operation.Path}: {file}: No such file or directory (os error 2)");
    }
}

void CheckPhase(Operation operation)
{
    if (operation.Phase == Phase.BeforeStart && vm.IsStarted)
        throw new FaultException("The requested operation is not supported after starting the microVM.");
    if (operation.Phase == Phase.AfterStart && !vm.IsStarted)
        throw new FaultException("The requested operation is not supported before starting the microVM.");
}

static async Task<JsonElement> ReadAsync(HttpContext context, string method)
{
    using var stream = new MemoryStream();
    await context.Request.Body.CopyToAsync(stream);
    if (stream.Length == 0)
        throw new FaultException($"Empty {method} request.");
    try
    {
        return JsonDocument.Parse(stream.ToArray()).RootElement;
    }
    catch (JsonException e)
    {
        throw new FaultException($"An error occurred when deserializing the json body of a request: {e.Message}.");
    }
}

static async Task RefuseAsync(HttpContext context, string key, string words)
{
    context.Response.StatusCode = 400;
    await context.Response.WriteAsJsonAsync(new Dictionary<string, string> { [key] = words });
}
