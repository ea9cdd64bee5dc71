using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Tokens;

namespace Ravel.ControlPlane.Apps;

internal static class AppEndpoints
{
    private static readonly TimeSpan ForceLimit = TimeSpan.FromSeconds(30);

    public static IServiceCollection AddApps(this IServiceCollection services) => services.AddSingleton<AppStore>();

    public static void MapApps(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/apps", ListAsync).WithSummary("List the apps of a namespace.");
        v1.MapPost("/apps", CreateAsync).WithSummary("Create an app.");
        v1.MapGet("/apps/{app}", GetAsync).WithSummary("Show an app.");
        v1.MapDelete("/apps/{app}", DeleteAsync).WithSummary("Delete an app; ?force=true destroys its machines first.");
    }

    private static async Task<Ok<AppList>> ListAsync(HttpContext http, AppStore apps)
    {
        var list = await apps.ListAsync(http.Tenant(), http.RequestAborted);
        return TypedResults.Ok(new AppList(list.Count, list));
    }

    private static async Task<Created<App>> CreateAsync(CreateAppRequest request, HttpContext http, AppStore apps)
    {
        Names.Check("app_name", request.AppName);
        return TypedResults.Created($"/v1/apps/{request.AppName}", await apps.CreateAsync(http.Tenant(), request.AppName, http.RequestAborted));
    }

    private static async Task<Ok<App>> GetAsync(string app, HttpContext http, AppStore apps) =>
        TypedResults.Ok(await apps.GetAsync(http.Tenant(), app, http.RequestAborted));

    private static async Task<Accepted> DeleteAsync(
        string app, bool? force, HttpContext http, AppStore apps, MachineStore machines, MachineCommands commands, MachineWaits waits)
    {
        var tenant = http.Tenant();
        if (force == true)
        {
            var keys = (await machines.ListAsync(tenant, app, withDestroyed: false, http.RequestAborted))
                .ConvertAll(m => new MachineKey(tenant, app, m.Row.Id));
            foreach (var key in keys)
                await commands.DestroyAsync(key, force: true, http.RequestAborted);
            await Task.WhenAll(keys.Select(k => waits.WaitAsync(k, MachineStates.Destroyed, null, ForceLimit, http.RequestAborted)));
        }
        await apps.DeleteAsync(tenant, app, http.RequestAborted);
        return TypedResults.Accepted((string?)null);
    }
}
